"""Test code: SkyRL's Tinker server with the shims it needs beside today's SDK. Run by the server's own environment, never imported.

    python tests/engines/tinker/shimmed_server.py --base-model FOLDER --backend jax … --host 127.0.0.1 --port 8124

takes the options of ``python -m skyrl.tinker.api`` (skyrl 0.4.0). The client stays the unmodified SDK (tinker 0.38.0). The shims:

1. Python 3.11: pydantic takes a TypedDict from ``typing`` only from Python 3.12 on, so the one of typing_extensions stands in.
2. The engine is started with this interpreter; upstream starts it through ``uv run``.
3. ``asample`` answers with ``sample_sequence_ids``, which SDKs from 0.26 on require.
4. ``load_weights`` also takes the form of SDK 0.38: one request that names session and sequence number instead of a model, upon which
   the model ``{session}:train:{number}`` is made and then loaded.

Because of them the tests show that the engine agrees with the SDK and with SkyRL, not with the hosted service.
"""

import argparse
import runpy
import sys
import typing
from typing import Annotated, Any

import typing_extensions

typing.TypedDict = typing_extensions.TypedDict  # shim 1

ENGINE = "engine"


def main() -> None:
    if sys.argv[1:2] == [ENGINE]:
        sys.argv = sys.argv[1:]
        runpy.run_module("skyrl.tinker.engine", run_name="__main__", alter_sys=True)
        return
    import uvicorn  # pyright: ignore[reportMissingImports]
    from skyrl.tinker import api  # pyright: ignore[reportMissingImports]
    from skyrl.tinker.config import EngineConfig, add_model, config_to_argv  # pyright: ignore[reportMissingImports]

    parser = argparse.ArgumentParser()
    add_model(parser, EngineConfig)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    options = vars(parser.parse_args())
    config = EngineConfig.model_validate({name: value for name, value in options.items() if name in EngineConfig.model_fields})
    api.app.state.engine_config = config
    api._build_uv_run_cmd_engine = lambda _parent, config: [sys.executable, __file__, ENGINE, *config_to_argv(config)]  # shim 2
    shim_routes(api)
    uvicorn.run(api.app, host=options["host"], port=options["port"], log_level="warning", timeout_graceful_shutdown=2)


def shim_routes(api: Any) -> None:
    """Shims 3 and 4: routes in place of upstream's, which they call."""
    from fastapi import Body, Depends, HTTPException, Request  # pyright: ignore[reportMissingImports]
    from sqlmodel.ext.asyncio.session import AsyncSession  # pyright: ignore[reportMissingImports]

    database = Depends(api.get_session)

    async def asample(
        request: api.SampleRequest,  # pyright: ignore[reportInvalidTypeForm]
        req: Request,
        session: Annotated[AsyncSession, database],
    ) -> dict[str, Any]:
        reply = await api.asample(request, req, session)
        ids = [f"{reply.request_id}-{place}" for place in range(request.num_samples)]
        return {**reply.model_dump(), "sample_sequence_ids": ids}

    async def load_weights(
        body: Annotated[dict[str, Any], Body()], req: Request, session: Annotated[AsyncSession, database]
    ) -> api.FutureResponse:  # pyright: ignore[reportInvalidTypeForm]
        if body.get("session_id") is not None:
            body["model_id"] = await made_model(body, session)
        known = {name: body[name] for name in api.LoadWeightsRequest.model_fields if name in body}
        return await api.load_weights(api.LoadWeightsRequest.model_validate(known), req, session)

    async def made_model(body: dict[str, Any], session: AsyncSession) -> str:
        if await session.get(api.SessionDB, body["session_id"]) is None:
            raise HTTPException(status_code=404, detail="Session not found")
        path = api.types.TinkerPath.parse(body["path"])
        if path is None:
            raise HTTPException(status_code=400, detail=f"not a tinker path: {body['path']}")
        source = await api.get_model(session, path.primary_id)
        model_id = f"{body['session_id']}:train:{body['model_seq_id']}"
        lora = api.types.LoraConfig.model_validate(source.lora_config)
        request_id = await api.create_future(
            session=session,
            request_type=api.types.RequestType.CREATE_MODEL,
            model_id=model_id,
            request_data=api.types.CreateModelInput(lora_config=lora),
        )
        row = {"model_id": model_id, "base_model": source.base_model, "lora_config": lora.model_dump(), "status": "created"}
        session.add(api.ModelDB(**row, request_id=request_id, session_id=body["session_id"]))
        await session.commit()
        return model_id

    replaced = {"/api/v1/asample": asample, "/api/v1/load_weights": load_weights}
    api.app.router.routes = [route for route in api.app.router.routes if getattr(route, "path", None) not in replaced]
    for path, route in replaced.items():
        api.app.add_api_route(path, route, methods=["POST"])


if __name__ == "__main__":
    main()
