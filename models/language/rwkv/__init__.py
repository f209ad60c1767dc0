"""RWKV World: recurrent language models of versions 5.2, 6 and 7 with continuous batching."""
