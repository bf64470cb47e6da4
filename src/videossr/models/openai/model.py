"""Models behind an OpenAI-compatible server: `openai:MODEL@URL`.

A vLLM server gets videos with the times of their frames. Any other server gets single images with the times as text
between them; the paper does not ask in this way, and results carry a label that says so. See docs/how-to/servers.md.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from videossr.errors import ConfigError, MissingExtraError, ServerError
from videossr.models.base import Decoding, Model, Request, Response
from videossr.models.openai.bridge import run_in_background
from videossr.models.openai.client import is_loopback, open_client
from videossr.models.openai.endpoint import keeps_order, parse_endpoint, server_version, vllm_refusal
from videossr.models.openai.errors import (
    EXCERPT,
    RequestFailed,
    harmless,
    message,
    named,
    no_system_role,
    transport_errors,
)
from videossr.models.openai.messages import (
    Answer,
    Body,
    Picture,
    as_images,
    as_video,
    pictures,
    read_answer,
    sampling,
    system_in_user,
)
from videossr.models.openai.retry import Backoff, asked_wait
from videossr.question_set import QuestionSet
from videossr.runners.threads import CORES
from videossr.sample import JSON

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

_Mode = Literal["auto", "vllm", "images"]
_System = Literal["auto", "turn", "user"]
_STOP = (401, 402, 403, 404, 405)
"""Status codes for a wrong key, payment, permission, model or address, which fail every question."""
_BUSY = (408, 409, 425, 429)
"""Status codes that, like all from 500 on, may be gone a moment later."""


@checked(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class ServerSettings:
    """Settings of the requests to a server."""

    mode: Annotated[
        _Mode, Field(description="how clips are sent: vllm as videos, images one by one, auto by server")
    ] = "auto"
    concurrency: Annotated[int, Field(ge=1, le=1024, description="requests at the same time")] = 8
    timeout: Annotated[float, Field(gt=0, le=86400, description="seconds that a request may take")] = 600.0
    tries: Annotated[int, Field(ge=1, le=100, description="failed requests in a row that fail a question")] = 6
    backoff: Annotated[float, Field(ge=0, description="seconds before the second try; they double with each")] = 1.0
    most_backoff: Annotated[float, Field(ge=0, description="seconds of that wait, at most")] = 60.0
    patience: Annotated[float, Field(ge=0, description="seconds that a server is granted which asks to wait")] = 300.0
    system: Annotated[
        _System,
        Field(description="the system text: as a turn of its own, before the user's, auto: so if the server refuses"),
    ] = "auto"
    thinking: Annotated[
        bool | None, Field(description="what the chat template is told of enable_thinking; by default nothing")
    ] = None
    picture: Annotated[Picture, Field(description="png loses nothing and is several times as large")] = "jpeg"
    quality: Annotated[int, Field(ge=1, le=100, description="of JPEGs")] = 95
    key: Annotated[str, Field(description="name of the environment variable with the key")] = "OPENAI_API_KEY"
    most_bytes: Annotated[int, Field(ge=1024, description="a longer response is a failure")] = 4_194_304


@dataclass(frozen=True, slots=True)
class _Ready:
    """A question whose frames are rendered, or the error of rendering them."""

    request: Request
    body: Body | None
    error: str = ""


class OpenAIModel(Model[ServerSettings]):
    """A model behind a server; see `videossr.models.base.Model`.

    Args:
        target: `MODEL@URL`; the address with or without `/v1`.
        settings: of the requests.
        questions: not used.

    Raises:
        MissingExtraError: `openai` is not installed.
        ConfigError: the target has another form, or the server is a vLLM that would read wrong times, or videos in
            another place.
        ServerError: no server answers.
    """

    Settings = ServerSettings
    any_questions = True
    tuning = frozenset({"concurrency", "timeout", "tries", "backoff", "most_backoff", "patience", "key"})

    def __init__(self, target: str, settings: ServerSettings, questions: QuestionSet) -> None:
        try:
            import openai
        except ImportError as error:
            raise MissingExtraError("to ask servers, install: pip install 'videossr[openai]'") from error
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", settings.key):
            raise ConfigError("--model.key=NAME takes the name of an environment variable, never the key itself")
        self._target = parse_endpoint(target)
        self._settings = settings
        self._key = os.environ.get(settings.key, "")
        if self._key and urlsplit(self._target.url).scheme == "http" and not is_loopback(self._target.url):
            warnings.warn(
                f"{self._target.url}: the key of {settings.key} is sent over plain http, where others can read it: use "
                "https, or name another variable with --model.key=NAME",
                stacklevel=2,
            )
        self._library = openai.__version__
        self._encode = pictures(settings.picture, settings.quality)
        self._refused: set[str] = set()
        """Optional fields that this server has refused."""
        self._system: _System = settings.system
        """Place of the system text, which the first answer decides for all questions."""
        self.waited = 0.0
        self._version = server_version(self._target, self._key)
        self._video = settings.mode == "vllm" or (settings.mode == "auto" and bool(self._version))
        why = vllm_refusal(self._version, asserted=settings.mode == "vllm") if self._video else None
        if why is not None:
            raise ConfigError(f"{self._target.url}: {why}")
        self._ordered = keeps_order(self._target, self._key) if self._video else None
        if self._ordered is False:
            raise ConfigError(
                f"{self._target.url}: this vLLM would put all videos before all text; start it with "
                "--chat-template-content-format openai (see docs/how-to/servers.md)"
            )

    def describe(self) -> Mapping[str, JSON]:
        """Return the server, the form in which frames and times were sent to it, and the fields that it refused."""
        settings = self._settings
        description: dict[str, JSON] = {
            "server": f"vllm {self._version}" if self._version else "unknown",
            "url": self._target.url,
            "name": self._target.model,
            "frames": "videos with times" if self._video else "single images with times as text",
            "picture": f"jpeg {settings.quality}" if settings.picture == "jpeg" else "png",
            "refused": [*sorted(self._refused)],
            "system": self._system,
            "openai": self._library,
        }
        if self._video:
            return {**description, "order": "kept" if self._ordered else "not checked"}
        return {**description, "label": "frames as single images"}

    def resume(self, description: Mapping[str, JSON]) -> None:
        """Ask as in an earlier session of a run, for which `describe` returned `description`."""
        refused = description.get("refused")
        self._refused |= {str(name) for name in refused} if isinstance(refused, list) else set()
        if self._settings.system == "auto" and description.get("system") in ("turn", "user"):
            self._system = "turn" if description["system"] == "turn" else "user"

    def answer(self, requests: Iterable[Request], decoding: Decoding) -> Iterator[Response]:
        """Answer the questions, see `Model.answer`.

        Raises:
            ServerError: the server refuses every question.
            ConfigError: the server cannot be asked for this `top_k`.
        """
        if decoding.top_k and not self._version:
            raise ConfigError(
                f"{self._target.url} is not known to be a vLLM, and only that takes top_k: leave top_k at 0, or cut "
                "with top_p"
            )
        return run_in_background(lambda put: self._answer(iter(requests), decoding, put))

    async def _answer(self, requests: Iterator[Request], decoding: Decoding, put: Callable[[Response], None]) -> None:
        """Keep all concurrent requests busy, and a few questions rendered for the next ones."""
        settings = self._settings
        pace = Backoff(settings.backoff, settings.most_backoff, settings.patience)
        ready: asyncio.Queue[_Ready | None] = asyncio.Queue(CORES)
        turn = asyncio.Lock()
        loop = asyncio.get_running_loop()

        async def render(pool: ThreadPoolExecutor) -> None:
            while True:
                async with turn:
                    request = await loop.run_in_executor(pool, next, requests, None)
                if request is None:
                    return
                await ready.put(await loop.run_in_executor(pool, self._render, request))

        async def render_all() -> None:
            with ThreadPoolExecutor(CORES, "render") as pool:
                async with asyncio.TaskGroup() as group:
                    for _ in range(CORES):
                        group.create_task(render(pool))
            await ready.put(None)

        async def send(client: AsyncOpenAI) -> None:
            while True:
                began = time.monotonic()
                item = await ready.get()
                if item is None:
                    await ready.put(None)  # for the other senders
                    return
                self.waited += (time.monotonic() - began) / settings.concurrency
                put(await self._ask(client, item, decoding, pace))

        client = open_client(self._target.url, self._key, settings.timeout, settings.most_bytes)
        try:
            async with client, asyncio.TaskGroup() as group:
                group.create_task(render_all())
                for _ in range(settings.concurrency):
                    group.create_task(send(client))
        except BaseExceptionGroup as errors:
            raise _first(errors) from None

    def _render(self, request: Request) -> _Ready:
        try:
            clips = request.clips()
            if self._video:
                return _Ready(request, as_video(request.question, clips, self._encode))
            return _Ready(request, as_images(request.question, clips, self._encode, self._settings.picture))
        except Exception as error:  # any error in one question's frames fails that question alone
            return _Ready(request, None, self._harmless(f"{type(error).__name__}: {error}"))

    async def _ask(self, client: AsyncOpenAI, item: _Ready, decoding: Decoding, pace: Backoff) -> Response:
        """Collect all answers to one question; a server may return fewer at a time than it is asked for."""
        index = item.request.index
        if item.body is None:
            return Response(index, error=item.error, tries=0)
        answers: list[Answer] = []
        tries = 0
        failures = 0
        while (got := sum(len(answer.texts) for answer in answers)) < decoding.n:
            await pace.ready()
            tries += 1
            try:
                answers.append(await self._request(client, item.body, decoding, got, pace))
                failures = 0
            except RequestFailed as failed:
                failures += 1
                if not failed.again or failures >= self._settings.tries:
                    return Response(index, error=str(failed), tries=tries)
                await asyncio.sleep(pace.after(failures))
        texts = [text for answer in answers for text in answer.texts]
        finish = [end for answer in answers for end in answer.finish]
        n = decoding.n
        prompt = answers[0].prompt_tokens
        written = tuple(tokens for answer in answers for tokens in answer.tokens)
        return Response(
            index,
            tuple(texts[:n]),
            tuple(finish[:n]),
            tries=tries,
            prompt_tokens=prompt,
            answer_tokens=written if len(written) == n else (),
        )

    async def _request(self, client: AsyncOpenAI, body: Body, decoding: Decoding, got: int, pace: Backoff) -> Answer:
        """Request one response. A request that is refused for an optional field is sent again without it.

        Raises RequestFailed where this request has no answer, and ServerError where no other will have one.
        """
        from openai import APIConnectionError, APIStatusError

        while True:
            fields = self._fields(body, decoding, got)
            try:
                async with asyncio.timeout(self._settings.timeout):
                    answer = await self._send(client, fields)
            except APIStatusError as error:
                if not self._drop_field(error, fields):
                    raise self._classify(error, fields, pace) from error
            except TimeoutError as error:
                raise RequestFailed(f"no answer within {self._settings.timeout:g} s", again=True) from error
            except (APIConnectionError, transport_errors()) as error:
                cause = error.__cause__ or error
                if isinstance(cause, RequestFailed | ServerError):
                    raise cause from None
                raise RequestFailed(
                    self._harmless(f"no connection: {type(cause).__name__}: {cause}"), again=True
                ) from error
            else:
                if self._system == "auto" and fields["messages"][0]["role"] == "system":
                    self._system = "turn"
                return answer

    def _fields(self, body: Body, decoding: Decoding, got: int) -> dict[str, Any]:
        fields = {"max_tokens": decoding.max_tokens, **sampling(decoding, got, vllm=bool(self._version))}
        if "max_tokens" in self._refused:  # OpenAI's newer models know only the newer name of the limit
            fields["max_completion_tokens"] = decoding.max_tokens
        extra = {**fields.pop("extra_body", {}), **body.extra}
        if self._settings.thinking is not None:
            extra["chat_template_kwargs"] = {"enable_thinking": self._settings.thinking}
        messages = system_in_user(body.messages) if self._system == "user" else body.messages
        accepted = {name: value for name, value in fields.items() if name not in self._refused}
        return {"model": self._target.model, "messages": messages, "extra_body": extra, **accepted}

    async def _send(self, client: AsyncOpenAI, fields: dict[str, Any]) -> Answer:
        """Send a request and parse its response. Raises RequestFailed, not to be tried again, where it is no answer."""
        async with client.chat.completions.with_streaming_response.create(**fields) as response:
            data = await response.read()
        try:
            return read_answer(data)
        except ValueError as error:
            excerpt = data[:1000].decode("utf-8", "replace")
            raise RequestFailed(self._harmless(f"{error}{EXCERPT}{excerpt}"), again=False) from error

    def _drop_field(self, error: APIStatusError, fields: Mapping[str, Any]) -> bool:
        """Return whether an error is about an optional field, which is then left out of all further requests.

        Several answers can be asked for one at a time, draws need no seed, and a top_p of 1 excludes nothing. Without a
        system role, the system text goes before the user's.
        """
        if fields["messages"][0]["role"] == "system" and self._system != "turn" and no_system_role(error):
            self._system = "user"
            return True
        optional = [
            "max_tokens",
            "seed",
            *(["n"] if fields.get("n", 1) > 1 else []),
            *(["top_p"] if fields.get("top_p") == 1 else []),
        ]
        name = named(error, [name for name in optional if name in fields]) if error.status_code in (400, 422) else None
        if name is not None:
            self._refused.add(name)
        return name is not None

    def _classify(self, error: APIStatusError, fields: Mapping[str, Any], pace: Backoff) -> Exception:
        """Make a RequestFailed of an error response, or a ServerError where it concerns all other requests too."""
        status = error.status_code
        text = self._harmless(f"status {status}: {message(error)}")
        where = f"{self._target.url}: {text}"
        if status in _BUSY or status >= 500:
            if error.code == "insufficient_quota":
                return ServerError(where)
            wait = asked_wait(error.response.headers) if status in (429, 503) else None
            if wait is not None:
                pace.hold(wait)
            return RequestFailed(text, again=True)
        if status in _STOP:
            unset = status == 401 and not self._key
            return ServerError(f"{where}; the environment variable {self._settings.key} is not set" if unset else where)
        if "trust-request-mm-kwargs" in error.response.text:
            return ServerError(f"{where}; see docs/how-to/servers.md for how to start vLLM")
        if named(error, ("temperature", "top_p", "max_completion_tokens")):
            return ServerError(f"{where}; sample answers otherwise")
        if named(error, ("chat_template_kwargs", "enable_thinking")):
            return ServerError(f"{where}; this server cannot switch thinking: leave out --model.thinking")
        if status in (400, 422) and self._system == "auto" and fields["messages"][0]["role"] == "system":
            text += "; if the server takes no system turn, use --model.system=user"
        return RequestFailed(text, again=False)

    def _harmless(self, text: str) -> str:
        """Shorten and escape a server's words, and remove the key from them."""
        return harmless(text.replace(self._key, "(key)") if self._key else text)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error that stopped a group of tasks; the others were cancelled for it."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
