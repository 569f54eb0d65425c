import subprocess
import sys

import pytest

from peerllm.privacy.process_memory import place_of


def test_an_exception_is_reduced_to_kind_and_place() -> None:
    def fail() -> None:
        raise ValueError("SECRET")

    with pytest.raises(ValueError, match="SECRET") as caught:
        fail()
    place = place_of(caught.value)
    assert place.startswith("ValueError:")
    assert place.endswith(str(fail.__code__.co_firstlineno + 1))
    assert "SECRET" not in place
    assert place_of(ExceptionGroup("SECRET", [caught.value])) == place
    assert place_of(KeyError("SECRET")) == "KeyError"


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_process_that_handles_content_leaves_no_core() -> None:
    program = (
        "import ctypes, resource\n"
        "from peerllm.privacy.process_memory import forbid_memory_dumps\n"
        "forbid_memory_dumps()\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE)[0], ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.split() == [b"0", b"0"]
