"""One module for each backend: from an exported part to the files of a package."""
