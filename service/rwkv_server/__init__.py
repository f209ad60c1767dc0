"""A server of RWKV World models, with the interface of OpenAI's chat completions: ``python -m service.rwkv_server``."""
