"""What a benchmark is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from graphopt.errors import UsageError
from graphopt.report.bench import Mode
from graphopt.report.requirement import Requirement
from graphopt.runtime.settings import CUDA, Provider, SessionSettings, check_config
from graphopt.verify.inputs import Feeds

PRECISION = 0.005
"""Width of the ratio's interval, relative, at which a comparison ends before its time is over."""


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """How to compare models.

    Attributes:
        providers: Execution providers; every model runs on each.
        threads: Threads inside one operator, each a case of its own; 0 is ONNX Runtime's default.
        batches: Sizes of the open batch dimensions, each a case of its own; None leaves the data's
            own, or 1.
        shapes: Shapes of generated inputs.
        data: Input sets (arrays by name), run in turn; generated ones when None.
        seconds: For timing, all cases and processes together; what `profile`, `memory` and `cold`
            ask for comes on top.
        warmup: Runs of each model on each input set before the clock starts.
        min_pairs: No comparison ends early before so many pairs of blocks.
        processes: Fresh processes that share the time of a case.
        concurrency: Callers at once; more than one makes a closed loop.
        rate: Requests a second; makes an open loop with Poisson arrivals.
        binding: Bind inputs and outputs; None: on every provider but the CPU's.
        cuda_graph: Capture the CUDA graph and replay it.
        session: Settings of the sessions, all but provider and threads.
        profile: Time each node.
        memory: Measure memory, each model in a process of its own.
        cold: Measure loading and first run, in several processes.
        allow_fallback: Nodes may run elsewhere than on the provider asked for.
        strict_provider: No node may.
        requirements: What must hold.
        precision: Width of the interval at which to stop.
        seed: Seed of everything random.
        progress: Called with a few words whenever something new is begun.
    """

    providers: Sequence[Provider] = (SessionSettings().provider,)
    threads: Sequence[int] = (0,)
    batches: Sequence[int | None] = (None,)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    data: Sequence[Feeds] | None = None
    seconds: float = 10.0
    warmup: int = 3
    min_pairs: int = 30
    processes: int = 5
    concurrency: int = 1
    rate: float | None = None
    binding: bool | None = None
    cuda_graph: bool = False
    session: SessionSettings = field(default_factory=SessionSettings)
    profile: bool = False
    memory: bool = False
    cold: bool = False
    allow_fallback: bool = False
    strict_provider: bool = False
    requirements: Sequence[Requirement] = ()
    precision: float = PRECISION
    seed: int = 0
    progress: Callable[[str], None] = lambda what: None

    @property
    def mode(self) -> Mode:
        """One call after the other, or a load."""
        if self.rate is not None:
            return "open loop"
        return "closed loop" if self.concurrency > 1 else "alternating"

    def check(self) -> None:
        """Check what hangs together.

        Raises:
            UsageError: Two options that exclude each other.
        """
        check_config(self.session.config)
        if self.allow_fallback and self.strict_provider:
            raise UsageError("--allow-fallback and --strict-provider exclude each other")
        if not self.cuda_graph:
            return
        if self.binding is False:
            raise UsageError("--cuda-graph needs bound inputs", hint="leave --no-io-binding out")
        if self.concurrency > 1:
            raise UsageError("--cuda-graph replays for one caller", hint="leave --concurrency out")
        others = [p.name for p in self.providers if p.name != CUDA]
        if others:
            raise UsageError(f"--cuda-graph is for {CUDA}, not for {others[0]}")
