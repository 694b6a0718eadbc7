"""The demo model once more, as a folder in Hugging Face's format, for servers that do not read GGUF (mlx-lm).

The net is read back from the GGUF file, so that both servers run the very same one; see ``adapters.local.demo_model``.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

_THINK_TOKENS = ["<think>", "</think>"]
"""mlx-lm splits reasoning off only for models that have these tokens. The net never says them: its scripts are cut
into tokens of their own."""

_LAYER_PARTS = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
    **{f"blk.0.{ours}.weight": f"model.layers.0.{theirs}.weight" for ours, theirs in _LAYER_PARTS.items()},
}


def write_hf_model(gguf_file: Path, folder: Path) -> None:
    """Write the model of a GGUF file in Hugging Face's format.

    Args:
        gguf_file: The demo model.
        folder: Where to write; made if it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reader = gguf.GGUFReader(gguf_file)
    facts = {name: field.contents() for name, field in reader.fields.items()}
    facts["tokenizer.ggml.tokens"] += _THINK_TOKENS
    facts["llama.vocab_size"] += len(_THINK_TOKENS)
    _write_safetensors(folder / "model.safetensors", _padded({_NAMES[each.name]: each.data for each in reader.tensors}))
    (folder / "chat_template.jinja").write_text(facts["tokenizer.chat_template"], encoding="utf-8")
    for name, content in {
        "config": _config(facts),
        "generation_config": {"eos_token_id": facts["tokenizer.ggml.eos_token_id"]},
        "tokenizer": _tokenizer(facts),
        "tokenizer_config": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": facts["tokenizer.ggml.tokens"][facts["tokenizer.ggml.eos_token_id"]],
            "tool_parser_type": "json_tools",  # Qwen's and Hermes' form; mlx-lm does not see it in our template
        },
    }.items():
        (folder / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _padded(tensors: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Add empty rows for the tokens that the GGUF file does not have."""
    rows = ((0, len(_THINK_TOKENS)), (0, 0))
    enlarged = {name: np.pad(tensors[name], rows) for name in ("model.embed_tokens.weight", "lm_head.weight")}
    return tensors | enlarged


def _config(facts: dict[str, Any]) -> dict[str, Any]:
    heads = facts["llama.attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": facts["llama.vocab_size"],
        "hidden_size": facts["llama.embedding_length"],
        "intermediate_size": facts["llama.feed_forward_length"],
        "num_hidden_layers": facts["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": facts["llama.embedding_length"] // heads,
        "max_position_embeddings": facts["llama.context_length"],
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "eos_token_id": facts["tokenizer.ggml.eos_token_id"],
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
    }


def _tokenizer(facts: dict[str, Any]) -> dict[str, Any]:
    """Byte-level BPE without merges: special tokens, then single bytes."""
    tokens, types = facts["tokenizer.ggml.tokens"], facts["tokenizer.ggml.token_type"]
    flags = dict.fromkeys(("lstrip", "rstrip", "normalized", "single_word"), False)
    special = [
        {"id": number, "content": token, "special": True, **flags}
        for number, (token, kind) in enumerate(zip(tokens, types, strict=False))
        if kind == gguf.TokenType.CONTROL
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return {
        "version": "1.0",
        "added_tokens": special,
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }


def _write_safetensors(path: Path, tensors: dict[str, npt.NDArray[Any]]) -> None:
    """Write the format by hand (length of a JSON header, the header, the numbers): no dependency for 10 lines."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    chunks: list[bytes] = []
    end = 0
    for name, tensor in tensors.items():
        data = np.ascontiguousarray(tensor, np.float32).tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [end, end + len(data)]}
        end += len(data)
        chunks.append(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(chunks))
