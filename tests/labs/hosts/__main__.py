"""The command line of the lab: ``python -m tests.labs.hosts up N | list | run NAME WORDS… | kill NAME | start NAME | down``."""

from __future__ import annotations

import subprocess
import sys

from tests.labs.hosts.lab import Lab


def main(argv: list[str]) -> int:
    """Run one command."""
    lab = Lab()
    by_name = {host.name: host for host in lab.hosts()}
    match argv:
        case ["up", number]:
            key = lab.folder / "key"
            lab.folder.mkdir(parents=True, exist_ok=True)
            if not key.is_file():
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
            public = key.with_suffix(".pub").read_text()
            for host in [lab.boot(f"n{n}", f"10.78.0.{10 + n}/24", public) for n in range(1, int(number) + 1)]:
                host.wait()
                sys.stdout.write(f"ssh -i {key} debian@{host.address}\n")
        case ["list"]:
            for host in lab.hosts():
                sys.stdout.write(f"{host.name} {' '.join(host.addresses)} {'on' if host.first_process else 'off'}\n")
        case ["run", name, *command] if name in by_name:
            done = by_name[name].run(*command, check=False)
            sys.stdout.write(done.stdout)
            sys.stderr.write(done.stderr)
            return done.returncode
        case ["kill" | "start" as verb, name] if name in by_name:
            getattr(by_name[name], verb)()
        case ["down"]:
            if by_name:  # otherwise the network may belong to another checkout
                with lab.exclusive():
                    lab.remove()
        case _:
            sys.stderr.write(f"{__doc__}\n")
            return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
