"""A server of RWKV World models with OpenAI's completions API: ``python -m service.rwkv_server``."""
