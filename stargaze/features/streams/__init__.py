"""Records of files as a stream of batches, for predictions of any number of them."""
