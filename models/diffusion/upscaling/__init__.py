"""Work on finished images, in steps that rows can share: upscaling and face restoration."""
