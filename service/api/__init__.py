"""The HTTP API of the gateway: one package per dialect, and the modules that they share.

A dialect never imports another one. Every dialect has the same modules: ``routes`` (HTTP only), ``schemas`` (bodies
and answers), ``translate`` (from bodies to requests for the job service, and names of fields), ``views`` (from job
records to answers) and ``errors``.
"""
