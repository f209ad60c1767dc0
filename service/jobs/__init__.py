"""The job service: submitting, finding, waiting for and cancelling jobs, for callers with or without HTTP."""
