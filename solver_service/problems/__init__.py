"""What is solved: the one gate for input, file formats, properties, and a gallery of model problems."""
