"""`parley admin health`: whether the server answers, and takes clients."""

import json

from scripts.admin.exits import EXIT_FOUND, EXIT_OK
from scripts.admin.http import fetch, place_of
from scripts.admin.options import PlaceOptions
from scripts.admin.output import Output
from scripts.admin.run import run_command

_GOOD = 200


def health(*, options: PlaceOptions | None = None) -> int:
    """Say whether the server takes clients: exit code 0, or 3 with why not, or 4 where nothing answers."""
    wanted = options or PlaceOptions()
    out = Output(as_json=wanted.json)
    place = place_of(wanted.url)

    async def work() -> int:
        await fetch(place.path("/healthz"), secure=place.secure)
        ready = await fetch(place.path("/readyz"), secure=place.secure)
        is_ready = ready.status == _GOOD
        try:
            said: object = json.loads(ready.body)
        except ValueError:
            said = {"state": ready.body.strip()[:100]}
        words = "ready" if is_ready else f"not ready: {said}"
        out.value({"alive": True, "ready": is_ready, "said": said}, words)
        return EXIT_OK if is_ready else EXIT_FOUND

    return run_command(out, work)
