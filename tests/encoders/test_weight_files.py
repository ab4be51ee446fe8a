"""Weights come out of a file as tensors, whatever is beside them, or the file is refused in one sentence."""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import pickle
import sys
import types
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from ssl_zoo.encoders.published import check_published, load_published
from ssl_zoo.encoders.weight_files import read_weights
from ssl_zoo.errors import UserError

WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.ones(2)}


def same(found):
    return found.keys() == WEIGHTS.keys() and all(torch.equal(found[key], WEIGHTS[key]) for key in WEIGHTS)


@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        collections.OrderedDict(WEIGHTS),
        {"model": WEIGHTS, "epoch": 3},
        {"state_dict": {"model": WEIGHTS}},
        {f"module.{key}": value for key, value in WEIGHTS.items()},
        {"model": WEIGHTS, "optimizer": {"state": {0: {"step": torch.ones(1)}}, "param_groups": [{"lr": 0.1}]}},
        {"model": WEIGHTS, "args": argparse.Namespace(lr=0.1, names=["a"])},
        {key: torch.nn.Parameter(value) for key, value in WEIGHTS.items()},
    ],
)
def test_weights_are_found_under_their_wrapper(tmp_path, content):
    torch.save(content, tmp_path / "file.pth")
    assert same(read_weights(tmp_path / "file.pth", ("model", "state_dict")))


def test_safetensors_are_known_by_their_content(tmp_path):
    save_file(WEIGHTS, tmp_path / "file.bin")
    assert same(read_weights(tmp_path / "file.bin"))


# What training frameworks keep beside the weights, as far as pickle can tell: attributes, methods, bases.
RECORDS = {
    "mmengine.logging.history_buffer": """
import numpy

class HistoryBuffer:
    _statistics_methods = {}

    def __init__(self):
        self._log_history = numpy.arange(3) / 3
        self._count_history = numpy.ones(3, dtype=numpy.int64)
        self.best = numpy.float64(0.5)
        self._statistics_methods.update(max=HistoryBuffer.max, current=HistoryBuffer.current)

    def max(self):
        return self._log_history.max()

    def current(self):
        return self._log_history[-1]

    def __getstate__(self):  # since mmengine 0.7.3
        return {**self.__dict__, "statistics_methods": self._statistics_methods}
""",
    "mmengine.fileio": """
class Backend:
    run = eval
""",
    "mmengine.config.config": """
class ConfigDict(dict):
    def __reduce_ex__(self, protocol):
        return (type(self), (dict(self.items()),), None, None, None)
""",
    "yacs.config": """
class CfgNode(dict):
    def __init__(self, items):
        super().__init__(items)
        self.__dict__["__immutable__"] = True
""",
    "addict.addict": """
class Dict(dict):
    def __getstate__(self):
        return self
""",
    "easydict": """
class EasyDict(dict):
    def __init__(self, items):
        super().__init__(items)
        self.__dict__.update(items)
""",
}
SETTINGS = {"lr": 0.1, "names": ["a"], "deep": {"er": 1}}


@contextlib.contextmanager
def framework(module, name):
    """A class of RECORDS, which can be imported within the block alone."""
    parts = module.split(".")
    with pytest.MonkeyPatch.context() as patch:
        for stem in (".".join(parts[: k + 1]) for k in range(len(parts))):
            patch.setitem(sys.modules, stem, types.ModuleType(stem))
        exec(RECORDS[module], vars(sys.modules[module]))
        yield getattr(sys.modules[module], name)


def test_the_records_of_mmengine_are_read_without_its_code(tmp_path):
    path = tmp_path / "file.pth"
    with framework("mmengine.logging.history_buffer", "HistoryBuffer") as buffer:
        hub = {"log_scalars": collections.OrderedDict(loss=buffer()), "runtime_info": {}}
        torch.save({"meta": {"seed": None}, "state_dict": WEIGHTS, "message_hub": hub}, path)
    assert "mmengine" not in sys.modules
    with zipfile.ZipFile(path) as archive:
        (pickled,) = [archive.read(name) for name in archive.namelist() if name.endswith("data.pkl")]
    assert b"__builtin__\ngetattr" in pickled  # its methods, as mmengine writes them since 0.7.3
    assert same(read_weights(path, ("state_dict",)))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("mmengine.config.config", "ConfigDict"),
        ("yacs.config", "CfgNode"),
        ("addict.addict", "Dict"),
        ("easydict", "EasyDict"),
    ],
)
def test_settings_kept_in_a_frameworks_dictionary_do_not_hide_the_weights(tmp_path, module, name):
    with framework(module, name) as dictionary:
        torch.save({"model": WEIGHTS, "cfg": dictionary(SETTINGS)}, tmp_path / "file.pth")
    assert same(read_weights(tmp_path / "file.pth", ("model",)))


def test_weights_in_a_dictionary_with_a_default_are_found(tmp_path):
    torch.save({"model": collections.defaultdict(list, WEIGHTS)}, tmp_path / "file.pth")
    assert same(read_weights(tmp_path / "file.pth", ("model",)))


class Attribute:
    """Pickled as `getattr(owner, name)`."""

    def __init__(self, owner, name):
        self.reduced = getattr, (owner, name)

    def __reduce__(self):
        return self.reduced

    def __call__(self): ...


class Call:
    """Pickled as `what(*given)`."""

    def __init__(self, what, *given):
        self.reduced = what, given

    def __reduce__(self):
        return self.reduced


def test_getattr_in_a_file_leads_nowhere(tmp_path):
    ran, path = tmp_path / "ran", tmp_path / "file.pth"
    with framework("mmengine.fileio", "Backend") as backend:
        evil = Call(Attribute(backend, "run"), f"open({str(ran)!r}, 'w').close()")
        pickle.loads(pickle.dumps(evil, protocol=2))
        assert ran.exists()  # as pickle would have it
        ran.unlink()
        torch.save({"model": WEIGHTS, "args": evil}, path)
        with pytest.raises(UserError, match=r"file\.pth"):
            read_weights(path, ("model",))
        torch.save({"model": WEIGHTS, "args": Attribute(backend, "run")}, path)
        assert same(read_weights(path, ("model",)))  # got hold of, but not called
    assert not ran.exists()


class Malicious:
    def __reduce__(self):
        return os.system, ("touch /tmp/ssl_zoo_was_here",)


class Executing:
    def __reduce__(self):
        return exec, ("raise SystemExit('code from a weight file was run')",)


@pytest.mark.parametrize("evil", [Malicious, Executing])
def test_code_in_a_file_is_never_run_and_the_file_is_refused(tmp_path, evil):
    for content in ({"model": WEIGHTS, "args": evil()}, evil()):
        torch.save(content, tmp_path / "file.pth")
        with pytest.raises(UserError, match=r"file\.pth"):
            read_weights(tmp_path / "file.pth", ("model",))
    (tmp_path / "file.pth").write_bytes(pickle.dumps({"model": evil()}))
    with pytest.raises(UserError, match=r"file\.pth"):
        read_weights(tmp_path / "file.pth", ("model",))
    assert not os.path.exists("/tmp/ssl_zoo_was_here")


def write_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("hello"),
        lambda path: path.write_text('{"a": 1}'),
        lambda path: path.write_bytes(bytes(range(256)) * 20),
        write_zip,
        lambda path: torch.save([1, 2], path),
        lambda path: torch.save({}, path),
        lambda path: torch.save({"epoch": 3}, path),
        lambda path: torch.save(torch.ones(2), path),
        lambda path: path.mkdir(),
    ],
)
@pytest.mark.parametrize("name", ["file.pth", "file.safetensors"])
def test_a_file_without_weights_is_one_clear_error(tmp_path, write, name):
    write(tmp_path / name)
    with pytest.raises(UserError) as error:
        read_weights(tmp_path / name)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["torch", "old torch", "safetensors"])
def test_a_file_cut_short_anywhere_is_one_clear_error(tmp_path, share, kind):
    weights = {"a": torch.randn(300, 50), "b": torch.randn(40)}
    path = tmp_path / "file.pth"
    if kind == "safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=kind == "torch")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(UserError, match="not a whole"):
        read_weights(path)


@pytest.mark.parametrize("name", ["usf_mae", "usfm", "mofo", "ultrasam", "fetalclip", "dinov3"])
def test_another_encoders_file_is_refused_with_the_keys_told(tiny, name):
    other = "usfm" if name != "usfm" else "dinov3"
    path, _ = tiny(other)
    with pytest.raises(UserError, match=rf"not the weights of {name} .*matched, \d+ missing \(.+\), \d+ unexpected"):
        load_published(f"{name}:{path}")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop("blocks.1.attn.qkv.weight"), ["1 missing (blocks.1.attn.qkv.weight)"]),
        (lambda w: w.update(extra=torch.ones(1)), ["1 unexpected (extra)"]),
        (lambda w: w.update(pos_embed=torch.ones(1, 5, 24)), ["1 of another shape", "pos_embed [1, 5, 24] instead"]),
        (lambda w: w.update({"blocks.2.norm1.weight": torch.ones(24)}), ["1 unexpected (blocks.2.norm1.weight)"]),
    ],
)
def test_a_file_that_differs_in_one_key_or_in_size_is_refused(tiny, change, words):
    path, _ = tiny("usf_mae")
    weights = torch.load(path)
    change(weights)
    torch.save(weights, path)
    for read in (load_published, check_published):
        with pytest.raises(UserError) as error:
            read(f"usf_mae:{path}")
        assert all(word in str(error.value) for word in words), str(error.value)
