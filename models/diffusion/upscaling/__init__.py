"""Work on finished images, in steps that jobs can share: enlarging them, and restoring the faces in them."""
