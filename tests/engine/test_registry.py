from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from graphopt.engine.registry import available, class_of, find, suggestion
from graphopt.errors import UsageError
from tests.engine.conftest import Install
from tests.engine.third_party import pass_source


def test_listing_imports_no_pass_module() -> None:
    code = (
        "import sys; from graphopt.engine.registry import available; names = list(available()); "
        "assert 'fold_constants' in names; "
        "print([m for m in sys.modules if m.startswith('graphopt.passes.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_entry_names_the_file_and_its_class() -> None:
    entry = find("fuse_conv_batchnorm")
    assert (entry.category, entry.module) == ("fuse", "graphopt.passes.fuse.fuse_conv_batchnorm")
    assert entry.distribution == "graphopt"
    assert entry.load().__name__ == class_of("fuse_conv_batchnorm") == "FuseConvBatchnorm"


@pytest.mark.parametrize("name", list(available()))
def test_every_pass_loads_and_its_name_is_its_file_name(name: str) -> None:
    assert find(name).load().name == name


def test_dashes_count_as_underscores() -> None:
    assert find("fold-constants") is find("fold_constants")


def test_unknown_pass_suggests_the_closest() -> None:
    with pytest.raises(UsageError, match="there is no pass 'fold_constant'") as caught:
        find("fold_constant")
    assert caught.value.hint == "did you mean fold_constants?"


def test_suggestion_lists_all_where_none_is_close() -> None:
    assert suggestion("zzz", ["beta", "alpha"]) == "known: alpha, beta"


def test_third_party_brings_a_pass(third_party: Install) -> None:
    third_party("acme", "acme_passes", {"fuse/swap_things.py": pass_source("swap_things")})
    entry = find("swap_things")
    assert (entry.distribution, entry.category) == ("acme", "fuse")
    assert entry.load().name == "swap_things"
    assert "fold_constants" in available()


def test_pass_may_lie_in_the_package_itself(third_party: Install) -> None:
    third_party("acme", "acme_passes", {"swap_things.py": pass_source("swap_things")})
    assert find("swap_things").category == ""


def test_private_files_are_no_passes(third_party: Install) -> None:
    third_party("acme", "acme_passes", {"_inner.py": "", "_parts/swap_things.py": ""})
    assert not {"_inner", "swap_things", "__init__"} & set(available())


def test_duplicate_name_names_both_distributions(third_party: Install) -> None:
    third_party("acme", "acme_passes", {"fold_constants.py": pass_source("fold_constants")})
    with pytest.raises(UsageError) as caught:
        available()
    assert "graphopt" in str(caught.value)
    assert "acme" in str(caught.value)
    assert "fold_constants" in str(caught.value)


def test_duplicate_between_two_third_parties(third_party: Install) -> None:
    third_party("acme", "acme_passes", {"swap_things.py": ""})
    third_party("zeta", "zeta_passes", {"other/swap_things.py": ""})
    with pytest.raises(UsageError, match=r"both \w+ and \w+ bring a pass 'swap_things'"):
        available()


def test_listing_does_not_import_a_broken_third_party(third_party: Install) -> None:
    third_party("acme", "acme_passes", {"swap_things.py": "raise ImportError('no such wheel')"})
    entry = available()["swap_things"]
    with pytest.raises(UsageError, match="no such wheel") as caught:
        entry.load()
    assert caught.value.pass_name == "swap_things"


def test_file_without_the_class(third_party: Install) -> None:
    third_party("acme", "acme_passes", {"swap_things.py": "class Other: pass"})
    with pytest.raises(UsageError, match="cannot be used") as caught:
        find("swap_things").load()
    assert caught.value.hint == "it must define the class SwapThings"


def test_entry_point_to_a_package_that_is_gone(third_party: Install) -> None:
    third_party("zeta", "zeta_passes", {})
    package = Path(sys.path[0]) / "zeta_passes"
    shutil.rmtree(package)
    with pytest.raises(UsageError, match="zeta names the package 'zeta_passes'"):
        available()
