"""The packaged program: the command `peerllm`, which opens the window when nothing else is asked.

Host and engines are processes of their own. They are started as Python would be, with
`-P -m peerllm...`, which a packaged program has to understand itself.
"""

import multiprocessing
import runpy
import sys


def main() -> None:
    """Run what the command line asks for."""
    multiprocessing.freeze_support()
    arguments = sys.argv[1:]
    if arguments[:2] == ["-P", "-m"] and arguments[2:]:
        module = arguments[2]
        if not module.startswith("peerllm."):
            sys.exit(f"peerllm: {module} is not part of this program")
        sys.argv = [module, *arguments[3:]]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        return
    if not arguments:
        sys.argv.append("desktop")
    from peerllm.cli.main import main as front_door  # noqa: PLC0415 - engines need none of it

    front_door()


if __name__ == "__main__":
    main()
