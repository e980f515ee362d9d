"""Stages: passes in rounds to a fixed point, then the proof; what fails is found and left out."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from graphopt.contract import AnyPass, Context, Effect
from graphopt.engine.bisect import first_failure
from graphopt.engine.recipe import Stage
from graphopt.engine.walk import Blocked, Walk
from graphopt.graph import Program, annotate, export_program, export_types
from graphopt.model import Model
from graphopt.report import LeftOut, PassResult, StageReport, Verification
from graphopt.verify import Verifier

MAX_LEFT_OUT = 16
"""Failing rewrites to look for in one stage; with more, the whole stage is taken back."""

Progress = Callable[[str], None]


@dataclass(slots=True)
class _Tally:
    """What a stage's passes did, round after round."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    skipped: dict[str, Counter[str]] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    rounds: int = 0
    fixed_point: bool = True
    taken_back: str = ""


@dataclass(frozen=True, slots=True)
class _Proof:
    """What a stage is compared with.

    Attributes:
        verifier: Compares; None when verification is off.
        original: Its original.
        since: Transactions that were made before it; 0 for the model as it was given.
    """

    verifier: Verifier | None
    original: Model
    since: int = 0


@dataclass(slots=True)
class StageRunner:
    """Runs stages on one program.

    Attributes:
        original: The model as it was given, before its opset was raised.
        verifier: Compares with the original; None switches verification off.
        progress: Told what is being done.
        wanted_opset: The highest opset that a refused rewrite asked for.
    """

    program: Program
    original: Model
    context: Context
    admits: Effect
    verifier: Verifier | None
    progress: Progress
    wanted_opset: int = 0

    def run(self, stage: Stage) -> StageReport:
        """Run one stage and prove its result.

        Raises:
            PassError: A pass raised, or does not come to an end.
        """
        passes = [spec.make() for spec in stage.passes]
        base = len(self.program.journal.done)
        tally = _Tally()
        with contextlib.ExitStack() as cleanup:
            proof = self._proof(passes, base, cleanup)
            verification = self._proven(stage, passes, proof, tally)
            if proof.since and self.verifier is not None:
                # The stage itself is proven; the loss of those before it stays measured.
                whole = self.verifier.check(export_program(self.program), Effect.LOSSY)
                proven = whole.status == "ok"
                verification = replace(verification, losses=whole.losses) if proven else whole
        return self._report(passes, base, tally, verification)

    def _proven(
        self, stage: Stage, passes: list[AnyPass], proof: _Proof, tally: _Tally
    ) -> Verification:
        """Run the rounds until what stands passes; what does not is left out, or all of it."""
        journal = self.program.journal
        base = len(journal.done)
        blocked: Blocked = set()
        while True:
            self._rounds(stage, passes, blocked, tally)
            verification = self._verify(len(journal.done), proof)
            if verification.status != "failed" or len(journal.done) == base:
                return verification
            found = self._leave_out(base, blocked, tally, _reason(verification), proof)
            if not found or len(tally.left_out) > MAX_LEFT_OUT:
                journal.move_to(base)
                journal.forget_undone()
                tally.taken_back = (
                    f"more than {MAX_LEFT_OUT} rewrites failed"
                    if found
                    else "it fails without any of its rewrites too"
                )
                return self._verify(base, proof)

    def _proof(self, passes: list[AnyPass], base: int, cleanup: contextlib.ExitStack) -> _Proof:
        """What to compare a stage with: the original, or what lossy stages made of it.

        An exact stage behind a lossy one must keep the answers that it found, not the original's;
        compared with the original, what it broke would pass as loss.
        """
        done = self.program.journal.done
        lossy_before = any(t.effect is Effect.LOSSY for t in done[:base])
        lossy_now = any(instance.effect is Effect.LOSSY for instance in passes)
        if self.verifier is None or lossy_now or not lossy_before:
            return _Proof(self.verifier, self.original)
        start = export_program(self.program)
        return _Proof(cleanup.enter_context(self.verifier.rebased(start)), start, base)

    def _rounds(self, stage: Stage, passes: list[AnyPass], blocked: Blocked, tally: _Tally) -> None:
        tally.fixed_point = False
        for _ in range(stage.repeat):
            tally.rounds += 1
            edits = 0
            for instance in passes:
                edits += self._one(instance, blocked, tally)
            if not edits:
                tally.fixed_point = True
                return
            annotate(self.program, export_types(self.program))

    def _one(self, instance: AnyPass, blocked: Blocked, tally: _Tally) -> int:
        self.progress(f"{instance.name}, round {tally.rounds}")
        started = time.perf_counter()
        result = Walk(self.program, self.context, self.admits, blocked).run(instance)
        tally.seconds[instance.name] += time.perf_counter() - started
        tally.skipped[instance.name] = result.skipped
        self.wanted_opset = max(self.wanted_opset, result.wanted_opset)
        tally.left_out += result.left_out
        return result.rewrites

    def _verify(self, length: int, proof: _Proof) -> Verification:
        if proof.verifier is None:
            return Verification("not verified", "none", note="verification was switched off")
        journal = self.program.journal
        journal.move_to(length)
        candidate = export_program(self.program)
        if candidate is proof.original or length == proof.since > 0:
            return Verification("ok", "none", note="nothing was changed")
        self.progress(f"verifying {length} rewrites")
        return proof.verifier.check(candidate, self._bound(proof))

    def _bound(self, proof: _Proof) -> Effect:
        """What the comparison asks for: equal bits only where the recipe promises them.

        A rewrite that keeps every bit may still let the runtime choose another kernel (an LSTM
        whose weights became constants); a recipe that admits rounding admits that too.
        """
        if any(t.effect is Effect.LOSSY for t in self.program.journal.done[proof.since :]):
            return Effect.LOSSY
        return Effect.IDENTICAL if self.admits is Effect.IDENTICAL else Effect.ROUNDING

    def _leave_out(
        self, base: int, blocked: Blocked, tally: _Tally, last_reason: str, proof: _Proof
    ) -> bool:
        """Find the first rewrite whose prefix fails, take back everything from it on, block it."""
        journal = self.program.journal
        end = len(journal.done)
        reasons = {end: last_reason}

        def passes(length: int) -> bool:
            outcome = self._verify(length, proof)
            if outcome.status == "failed":
                reasons[length] = _reason(outcome)
            return outcome.status != "failed"

        found = first_failure(base, end, passes)
        if found is None:
            journal.move_to(end)
            return False
        journal.move_to(found)
        culprit = journal.done[-1]
        journal.move_to(found - 1)
        journal.forget_undone()
        blocked.add((culprit.pass_name, culprit.root, culprit.ordinal))
        tally.left_out.append(
            LeftOut(
                culprit.pass_name, culprit.root, culprit.label, culprit.ordinal,
                reasons.get(found, "failed verification"),
            )
        )  # fmt: skip
        annotate(self.program, export_types(self.program))
        return True

    def _report(
        self, passes: list[AnyPass], base: int, tally: _Tally, verification: Verification
    ) -> StageReport:
        standing = Counter(t.pass_name for t in self.program.journal.done[base:])
        results = tuple(
            PassResult(
                instance.name,
                standing[instance.name],
                dict(sorted(tally.skipped.get(instance.name, Counter()).items())),
                round(tally.seconds[instance.name], 6),
                instance.effect.value,
            )
            for instance in passes
        )
        return StageReport(
            tally.rounds, tally.fixed_point, results, verification, tuple(tally.left_out),
            tally.taken_back,
        )  # fmt: skip


def _reason(outcome: Verification) -> str:
    failed = outcome.failures()
    if not failed:
        return "failed verification"
    return f"{failed[0].what}: {failed[0].detail}"
