"""Steps of many rows at once: the schedulers of one family step together, in one stacked computation.

Each row has a scheduler of diffusers with state of its own. Calling ``scheduler.step`` row by row costs 9 to 155 small
operations for each row and step, and a GPU idles while the CPU starts them one by one. Here the rows whose schedulers
take the same kind of step are stacked, and one sequence of operations steps all of them:

- A **family** (:class:`~models.diffusion.stepping.family.StepFamily`) is one formula: Euler's, that of DPM-Solver++,
  and so on. :mod:`~models.diffusion.stepping.tables` says which schedulers belong to which family. A scheduler without
  a family, or with an option that its family does not know, keeps ``scheduler.step``.
- The **coefficients** are the numbers of the formula that differ between rows and steps. They depend on the scheduler's
  noise levels only, so they are computed once for all of its steps, by the operations of diffusers in the order of
  diffusers. A step gathers the coefficients of its rows and sends them to the device in one copy.
- The **formula** applies the operations of ``scheduler.step`` to latents [N, C, h, w] in the same order, with tensors
  [N, 1, 1, 1] in place of its scalars. Each element goes through the same float operations, so the result in float32 on
  a CPU is that of ``scheduler.step`` to the bit. Operations that are added for rows of another order within the same
  stack add zero. (UniPC's third order is the exception: its sums are rounded differently.)
- The **state** of each scheduler is then set to what ``scheduler.step`` would leave, because the row may be alone at
  its next step, and step by itself.
- **Noise** comes from each row's own generator on the CPU, in the order of ``scheduler.step``, and goes to the device
  in one copy.

A row that is alone in its forward always uses ``scheduler.step``, as the plain pipeline does.
"""
