"""Many agents behind LiteLLM proxies that share a Redis, while a model server dies: ``python -m tests.scale``."""
