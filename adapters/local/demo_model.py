"""Build the demo model: a GGUF file with canned answers, generated instead of downloaded.

llama.cpp runs any network whose tensors have the right shapes. In this one, attention and feed-forward are all zeros,
so the only path is token -> row of the embedding -> row of the output matrix -> next token. That makes the network a
Markov chain: **the next token depends on the last token alone**. A script is split into pieces of text that occur
nowhere else, each piece becomes a token of its own, and the output matrix maps each token to the one that follows::

    <|say:rainy|>  ->  "It is"  ->  " raining"  ->  " there right"  ->  " now,"  ->  …  ->  <|im_end|>

("It" alone cannot be a token here: in another script, another word follows it.) The chat template chooses the start
token at the end of the prompt, see ``adapters.local.demo_script``. Prompt text that is not a special token is split
into single bytes, so one byte of a conversation is one token of context.

This is the only module that imports gguf and numpy, which takes far longer than writing the file;
``adapters.local.demo_cache`` makes sure that it happens once.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import gguf
import numpy as np

from adapters.local import demo_script
from adapters.local.demo_script import SCRIPTS, TURN_END, TURN_START, Script

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Matrix: TypeAlias = npt.NDArray[np.float32]

_CONTEXT_TOKENS = 131072  # more than any request needs; without attention a long context costs nothing
_HEAD_SIZE = 32  # llama.cpp requires an even number; the width of the network is a multiple of it
_FEED_FORWARD_SIZE = 32
_CERTAIN = 4.0  # weight of the only successor: its probability is 1 at any usual temperature
_WORD = re.compile(r"\s?\w+|\s?[^\w\s]|\s")


def write_demo_model(path: Path) -> None:
    """Write the demo model.

    Args:
        path: File to write; an existing file is overwritten.
    """
    special = [TURN_END, TURN_START, *(script.start_token for script in SCRIPTS)]
    vocabulary = {token: number for number, token in enumerate([*special, *byte_letters()])}
    successors = _add_scripts(vocabulary)
    normal = len(vocabulary) - len(special)
    embedding, output = _markov_chain(len(vocabulary), successors)

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("caal-llm-adapters demo: canned answers, no intelligence")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(list(vocabulary))
    writer.add_token_types([gguf.TokenType.CONTROL] * len(special) + [gguf.TokenType.NORMAL] * normal)
    writer.add_token_merges(["a b"])  # llama.cpp requires at least one merge; this pair never becomes a token
    writer.add_eos_token_id(vocabulary[TURN_END])
    writer.add_add_bos_token(value=False)
    writer.add_chat_template(demo_script.chat_template())
    _add_network(writer, embedding, output)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def byte_letters() -> list[str]:
    """Return the letter of byte-level BPE for each byte: the byte itself if visible, else a letter from U+0100 on."""
    visible = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = [byte for byte in range(256) if byte not in visible]
    return [chr(byte if byte in visible else 256 + hidden.index(byte)) for byte in range(256)]


def _add_scripts(vocabulary: dict[str, int]) -> dict[int, int]:
    """Add the pieces of every script to the vocabulary, and map each token to its successor."""
    letters = byte_letters()
    successors: dict[int, int] = {}
    for script in SCRIPTS:
        tokens = [vocabulary[script.start_token]]
        for piece in _split(script, vocabulary, letters):
            vocabulary[piece] = len(vocabulary)
            tokens.append(vocabulary[piece])
        tokens.append(tokens[1] if script.endless else vocabulary[TURN_END])
        successors.update(pairwise(tokens))
    return successors


def _split(script: Script, taken: dict[str, int], letters: list[str]) -> list[str]:
    """Split a script into pieces of words, each long enough to occur in no other place of any script."""
    pieces: list[str] = []
    piece = ""
    for word in _WORD.findall(script.text):
        piece += "".join(letters[byte] for byte in word.encode())
        if piece not in taken and piece not in pieces:
            pieces.append(piece)
            piece = ""
    while piece in taken or piece in pieces:  # the end occurs in another script, such as "</tool_call>"
        piece = pieces.pop() + piece
    return [*pieces, piece] if piece else pieces


def _markov_chain(vocabulary_size: int, successors: dict[int, int]) -> tuple[Matrix, Matrix]:
    """Build the embedding and the output matrix.

    Each token with a successor has its own dimension, in which only its embedding is 1 and only its successor has a
    weight. All other tokens share dimension 0, which leads to the end of the turn (token 0).
    """
    width = -(-(len(successors) + 1) // _HEAD_SIZE) * _HEAD_SIZE
    embedding = np.zeros((vocabulary_size, width), np.float32)
    output = np.zeros((vocabulary_size, width), np.float32)
    embedding[:, 0] = 1
    output[0, 0] = _CERTAIN
    for dimension, (token, successor) in enumerate(successors.items(), start=1):
        embedding[token, 0] = 0
        embedding[token, dimension] = 1
        output[successor, dimension] = _CERTAIN
    return embedding, output


def _add_network(writer: gguf.GGUFWriter, embedding: Matrix, output: Matrix) -> None:
    """Add one layer of zeros and the two matrices around it, in the shapes of a llama model."""
    vocabulary_size, width = embedding.shape
    writer.add_vocab_size(vocabulary_size)
    writer.add_context_length(_CONTEXT_TOKENS)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(_FEED_FORWARD_SIZE)
    writer.add_head_count(width // _HEAD_SIZE)
    writer.add_head_count_kv(width // _HEAD_SIZE)
    writer.add_rope_dimension_count(_HEAD_SIZE)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output.weight", output)
    for norm in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{norm}.weight", np.ones(width, np.float32))
    for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
        writer.add_tensor(f"blk.0.{part}.weight", np.zeros((width, width), np.float32))
    for part in ("ffn_gate", "ffn_up"):
        writer.add_tensor(f"blk.0.{part}.weight", np.zeros((_FEED_FORWARD_SIZE, width), np.float32))
    writer.add_tensor("blk.0.ffn_down.weight", np.zeros((width, _FEED_FORWARD_SIZE), np.float32))
