"""Work on finished pictures, in steps that jobs can share: enlarging them, and restoring the faces in them."""
