"""A model for MLServer that answers with a stream of words."""

import asyncio

from mlserver import MLModel, types
from mlserver.codecs import StringCodec

WORDS = 20


class TokenModel(MLModel):
    async def load(self):
        return True

    async def predict_stream(self, payloads):
        async for request in payloads:
            for number in range(WORDS):
                await asyncio.sleep(0.01)
                word = StringCodec.encode_output("text", [f"word-{number}"])
                yield types.InferenceResponse(model_name=self.name, id=request.id, outputs=[word])
