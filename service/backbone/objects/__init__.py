"""Where the bytes of images, files and uploads lie: in a folder of this machine, or in a bucket of an S3 service."""
