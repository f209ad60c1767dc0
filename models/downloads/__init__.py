"""Getting the files of a model: from the model hub into its usual cache, and from Civitai or any URL into a folder."""
