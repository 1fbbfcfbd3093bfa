"""Writes a LLaMA of 122,000 random parameters that the llama.cpp server takes for a model. usage: tiny_model.py FILE SEED"""

import sys

import gguf
import numpy

WIDTH, LAYERS, HEADS, FEED_FORWARD, CONTEXT = 64, 2, 4, 128, 65536
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog", "canary", "coal", "mine", "stable", "model", "yes", "no"]
LETTERS = [chr(ord("a") + i) for i in range(26)]

path, seed = sys.argv[1], int(sys.argv[2])
tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL] + [gguf.TokenType.BYTE] * 256
scores = [0.0] * len(tokens)
for text in ["\u2581", *("\u2581" + word for word in WORDS), *LETTERS]:
    tokens.append(text)
    kinds.append(gguf.TokenType.NORMAL)
    scores.append(-float(len(tokens)))

random = numpy.random.default_rng(seed)


def weights(*shape):
    return (random.standard_normal(shape) * 0.3).astype(numpy.float32)


out = gguf.GGUFWriter(path, "llama")
out.add_name(f"tiny-{seed}")
out.add_context_length(CONTEXT)
out.add_embedding_length(WIDTH)
out.add_block_count(LAYERS)
out.add_feed_forward_length(FEED_FORWARD)
out.add_head_count(HEADS)
out.add_head_count_kv(HEADS)
out.add_rope_dimension_count(WIDTH // HEADS)
out.add_layer_norm_rms_eps(1e-5)
out.add_vocab_size(len(tokens))
out.add_tokenizer_model("llama")
out.add_token_list(tokens)
out.add_token_scores(scores)
out.add_token_types(kinds)
out.add_bos_token_id(1)
out.add_eos_token_id(2)
out.add_unk_token_id(0)
out.add_chat_template("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:")

out.add_tensor("token_embd.weight", weights(len(tokens), WIDTH))
out.add_tensor("output_norm.weight", numpy.ones(WIDTH, dtype=numpy.float32))
head = weights(len(tokens), WIDTH)
# Whole words only: nothing that ends the answer, and no half characters.
head[: 3 + 256] = 0
out.add_tensor("output.weight", head)
for layer in range(LAYERS):
    at = f"blk.{layer}"
    out.add_tensor(f"{at}.attn_norm.weight", numpy.ones(WIDTH, dtype=numpy.float32))
    out.add_tensor(f"{at}.ffn_norm.weight", numpy.ones(WIDTH, dtype=numpy.float32))
    for name in ["attn_q", "attn_k", "attn_v", "attn_output"]:
        out.add_tensor(f"{at}.{name}.weight", weights(WIDTH, WIDTH))
    out.add_tensor(f"{at}.ffn_gate.weight", weights(FEED_FORWARD, WIDTH))
    out.add_tensor(f"{at}.ffn_up.weight", weights(FEED_FORWARD, WIDTH))
    out.add_tensor(f"{at}.ffn_down.weight", weights(WIDTH, FEED_FORWARD))
out.write_header_to_file()
out.write_kv_data_to_file()
out.write_tensors_to_file()
out.close()
