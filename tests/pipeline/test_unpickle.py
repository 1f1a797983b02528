import pickle
from collections import OrderedDict, defaultdict

import numpy as np
import pytest

from affectflow.pipeline.errors import DatasetError
from affectflow.pipeline.unpickle import load_pickle, loads_pickle


class Hostile:
    """Writes a file when it is unpickled without care."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


PLAIN = {
    "containers": [1, 2.5, None, True, "text", b"bytes", (1, (2,)), {3}, frozenset({4}), 1j],
    "ordered": OrderedDict(a=1),
    "default": defaultdict(list, a=[1]),
    "bytearray": bytearray(b"ab"),
}


@pytest.mark.parametrize("protocol", range(5))
def test_plain_data_comes_back(protocol):
    assert loads_pickle(pickle.dumps(PLAIN, protocol=protocol)) == PLAIN


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        np.array(["a", "bc"]),
        np.array([[1], None], dtype=object),
        np.zeros((0, 4), dtype=np.int64),
        np.array([(1, 2.0)], dtype=[("x", "i4"), ("y", "f8")]),
    ],
    ids=["float", "columns", "text", "object", "empty", "record"],
)
def test_arrays_come_back(protocol, array):
    found = loads_pickle(pickle.dumps(array, protocol=protocol))
    assert found.dtype == array.dtype
    assert found.tolist() == array.tolist()


@pytest.mark.parametrize("root", [b"numpy.core", b"numpy._core"])
def test_old_and_new_module_paths_are_the_same(root):
    other = {b"numpy.core": b"numpy._core", b"numpy._core": b"numpy.core"}[root]
    data = pickle.dumps([np.arange(3), np.float32(1.5)], protocol=0).replace(other, root)
    array, scalar = loads_pickle(data)
    assert array.tolist() == [0, 1, 2]
    assert scalar == np.float32(1.5)


def test_python_2_file_needs_latin1():
    # Protocol 1 with an 8-bit str, as Python 2 wrote it.
    data = b"U\x04caf\xe9."
    assert loads_pickle(data, encoding="latin1") == "café"
    with pytest.raises(DatasetError, match="latin1"):
        loads_pickle(data)


def test_python_2_array_with_latin1():
    raw = np.array([1.5, 200.25], dtype="<f8").tobytes()
    head = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    kind = (
        b"cnumpy\ndtype\n(U\x02f8K\x00K\x01tR(K\x03U\x01<NNN"
        + 2 * b"J\xff\xff\xff\xff"
        + b"K\x00tb"
    )
    data = b"\x80\x02" + head + b"(K\x01K\x02\x85" + kind + b"\x89U\x10" + raw + b"tb."
    assert loads_pickle(data, encoding="latin1").tolist() == [1.5, 200.25]


def test_hostile_pickle_is_refused_by_name_and_runs_nothing(tmp_path):
    target = tmp_path / "written"
    with pytest.raises(DatasetError, match=r"refused, it refers to '.*open'"):
        loads_pickle(pickle.dumps({"a": Hostile(target)}))
    assert not target.exists()


@pytest.mark.parametrize(
    "name",
    [
        "os\nsystem",
        "builtins\neval",
        "builtins\ngetattr",
        "__builtin__\napply",
        "numpy\nload",
        "numpy.core.multiarray\nfromfile",
        "numpy.testing._private.utils\nruncstring",
        "copyreg\n_reconstructor",
        "affectflow.pipeline.unpickle\nload_pickle",
    ],
)
def test_every_other_global_is_refused(name):
    module, _, attribute = name.partition("\n")
    with pytest.raises(DatasetError) as caught:
        loads_pickle(f"c{name}\n.".encode(), name="x.pkl")
    assert f"'{module}.{attribute}'" in caught.value.message
    assert "x.pkl" in caught.value.message


def test_a_dotted_name_does_not_reach_into_a_permitted_one():
    data = b"\x80\x04\x8c\x08builtins\x8c\x0cstr.__init__\x93."
    with pytest.raises(DatasetError, match="refused"):
        loads_pickle(data)


def test_the_stand_in_for_bytes_cannot_be_changed():
    # BUILD with a slot state sets attributes of whatever is on the stack.
    data = b"c_codecs\nencode\n(N}Vfoo\nI1\nstb."
    with pytest.raises(DatasetError, match="not a readable pickle"):
        loads_pickle(data)


def test_bytes_by_length_and_other_codecs_are_refused():
    with pytest.raises(DatasetError):
        loads_pickle(b"c__builtin__\nbytearray\n(I99999999999\ntR.")
    with pytest.raises(DatasetError):
        loads_pickle(b"c_codecs\nencode\n(Va\nVrot13\ntR.")


def test_text_is_not_made_of_lists():
    # Forty lists, each of the one before twice, would be written as ten terabytes.
    lists = b"".join(b"q%c0](h%ch%ce" % (index, index, index) for index in range(40))
    with pytest.raises(DatasetError, match="text from list"):
        loads_pickle(b"\x80\x02cbuiltins\nstr\n(](K\x01K\x01e" + lists + b"tR.")
    assert loads_pickle(b"c__builtin__\nunicode\n(Vword\ntR.") == "word"
    assert loads_pickle(b"cbuiltins\nstr\n(tR.") == ""


@pytest.mark.parametrize("data", [b"", b"not a pickle", b"\x80\x04]", pickle.dumps([1])[:-2]])
def test_a_damaged_file_is_a_dataset_error(data):
    with pytest.raises(DatasetError, match="not a readable pickle"):
        loads_pickle(data)


def test_files_are_read_up_to_the_limit(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps([1, 2]))
    assert load_pickle(path) == [1, 2]
    with pytest.raises(DatasetError, match="limit"):
        load_pickle(path, max_bytes=3)
    with pytest.raises(DatasetError, match=r"gone\.pkl"):
        load_pickle(tmp_path / "gone.pkl")


class Pointers:
    """Asks for an object array laid over given bytes: each of them would be a pointer."""

    def __reduce__(self):
        return np.ndarray, ((2,), "O", b"A" * 16)


@pytest.mark.parametrize("protocol", range(5))
def test_arrays_are_not_laid_over_bytes(protocol):
    with pytest.raises(DatasetError):
        loads_pickle(pickle.dumps(Pointers(), protocol=protocol))
