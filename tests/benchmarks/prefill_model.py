"""A language model of 21 million random parameters in 21 MB, whose prefill takes as long as that of a real one.

A byte is a token. It says random letters, and takes as long to read a prompt as any network
of its size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf
import numpy as np

from adapters.local.demo_model import byte_letters

if TYPE_CHECKING:
    from pathlib import Path

_LAYERS, _WIDTH, _FEED_FORWARD, _HEAD_SIZE = 6, 512, 1536, 64
_CONTEXT_TOKENS = 32_768
_END, _START = "<|im_end|>", "<|im_start|>"
_TEMPLATE = """\
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}
{%- if loop.first and tools %}
# Tools
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}{% endif %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
"""Chat markup as Qwen's: the tools are at the end of the system message."""


def write_random_model(path: Path) -> None:
    """Write the model; the same bytes each time.

    Args:
        path: File to write; an existing file is overwritten.
    """
    random = np.random.default_rng(1)
    vocabulary = [_END, _START, *byte_letters()]
    says = [index for index, token in enumerate(vocabulary) if len(token) == 1 and token.isascii() and token.isalpha()]
    output = np.zeros((len(vocabulary), _WIDTH), np.float32)
    output[says] = random.standard_normal((len(says), _WIDTH))

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("random weights for benchmarks")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.NORMAL] * 256)
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(value=False)
    writer.add_chat_template(_TEMPLATE)
    writer.add_tensor("output.weight", output)
    _add_layers(writer, random, len(vocabulary))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_layers(writer: gguf.GGUFWriter, random: np.random.Generator, vocabulary_size: int) -> None:
    writer.add_vocab_size(vocabulary_size)
    writer.add_context_length(_CONTEXT_TOKENS)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_WIDTH // _HEAD_SIZE)
    writer.add_head_count_kv(_WIDTH // _HEAD_SIZE)
    writer.add_rope_dimension_count(_HEAD_SIZE)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tensor("token_embd.weight", random.standard_normal((vocabulary_size, _WIDTH), np.float32))
    writer.add_tensor("output_norm.weight", np.ones(_WIDTH, np.float32))
    square, wide, tall = (_WIDTH, _WIDTH), (_FEED_FORWARD, _WIDTH), (_WIDTH, _FEED_FORWARD)
    shapes = {"attn_q": square, "attn_k": square, "attn_v": square, "attn_output": square}
    shapes |= {"ffn_gate": wide, "ffn_up": wide, "ffn_down": tall}
    for layer in range(_LAYERS):
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{norm}.weight", np.ones(_WIDTH, np.float32))
        for part, shape in shapes.items():
            weights = random.standard_normal(shape, np.float32) / np.float32(np.sqrt(shape[1]))
            packed = gguf.quants.quantize(weights, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(f"blk.{layer}.{part}.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
