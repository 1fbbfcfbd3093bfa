"""The real openai client; prints what it saw as one line of JSON. usage: llm_client.py URL stream|unary|abort"""

import json
import sys
import time

import openai

client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0, timeout=60)
common = {"model": "tiny", "messages": [{"role": "user", "content": "the quick brown fox"}], "temperature": 0, "seed": 1}


def stream(max_tokens):
    return client.chat.completions.create(
        **common, stream=True, stream_options={"include_usage": True}, max_tokens=max_tokens, extra_body={"ignore_eos": True}
    )


def contents(chunks):
    for chunk in chunks:
        if chunk.choices and chunk.choices[0].delta.content:
            yield chunk.choices[0].delta.content


if sys.argv[2] == "stream":
    begin, times, chunks = time.monotonic(), [], []
    for chunk in stream(2000):
        chunks.append(chunk)
        times.append(time.monotonic() - begin)
    finish = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
    seen = {
        "pieces": len(list(contents(chunks))),
        "tokens": chunks[-1].usage.completion_tokens,
        "choices_of_last": len(chunks[-1].choices),
        "finish": finish,
        "first": times[1],
        "whole": times[-1],
    }
elif sys.argv[2] == "unary":
    raw = client.chat.completions.with_raw_response.create(**common, max_tokens=16)
    answer = raw.parse()
    seen = {
        "tokens": answer.usage.completion_tokens,
        "text": answer.choices[0].message.content,
        "finish": answer.choices[0].finish_reason,
        "variant": raw.headers["x-coalmine-variant"],
        "ticket": raw.headers["x-coalmine-ticket"],
    }
else:
    response = stream(30_000)
    words = contents(response)
    seen = {"pieces": len([next(words) for _ in range(20)])}
    response.close()
print(json.dumps(seen), flush=True)
