"""Children run what was meant, and end with their parent: real processes, planted files."""

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from wattbench.hosts.remote.server import absolute, device_arguments
from wattbench.processes import bootstrap, windows_job
from wattbench.processes.bootstrap import UnsafeCodeError, check_private
from wattbench.processes.children import (
    Child,
    clean_environment,
    find_program,
    module_command,
    pack_command,
    run,
    script_command,
)

from ..waiting import until

OWNERS = (0, os.getuid()) if os.name != "nt" else ()

posix_only = pytest.mark.skipif(os.name == "nt", reason="POSIX processes and rights")

PLANTED = (
    *("wattbench", "torch", "comfy_cli", "argparse", "json", "pynvml", "psutil", "numpy"),
    *("sitecustomize", "usercustomize", "site", "runpy", "records", "offer", "subprocess"),
)


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """The current folder, and one that PYTHONPATH names, hold modules that leave a mark."""
    folder, mark = tmp_path / "downloads", tmp_path / "it_ran"
    folder.mkdir()
    code = f"open({str(mark)!r}, 'a').write(__name__ + ' ')\n"
    for name in PLANTED:
        (folder / f"{name}.py").write_text(code, "utf-8")
    for name in ("wattbench", "comfy_cli"):
        (folder / name).mkdir()
        for module in ("__init__", "__main__"):
            (folder / name / f"{module}.py").write_text(code, "utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("PYTHONSTARTUP", str(folder / "torch.py"))
    monkeypatch.setenv("PYTHONHOME", "")
    return mark


def test_planted_files_do_run_without_care(planted):
    """So the tests below can fail."""
    subprocess.run([sys.executable, "-m", "comfy_cli"], capture_output=True, check=False)
    assert "comfy_cli" in planted.read_text("utf-8")


@pytest.mark.parametrize(
    "command",
    [
        module_command("comfy_cli", "--help"),
        pack_command("hosts.remote.device_probe"),
        pack_command("measure.power_limit.guardian", "--help"),
        pack_command("measure.power_limit.guardian", "--help", owners=OWNERS),
    ],
)
def test_nothing_of_the_current_folder_runs(command, planted):
    done = run(command)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert not planted.exists()


def test_the_question_for_the_device_runs_nothing_of_the_current_folder(planted):
    assert device_arguments("auto") in ([], ["--cpu"])
    assert not planted.exists()


def test_a_script_and_its_own_children_run_nothing_of_the_current_folder(planted, tmp_path):
    """As ComfyUI, which finds what lies beside it, and whose libraries start Pythons too."""
    beside = tmp_path / "comfyui"
    beside.mkdir()
    (beside / "beside.py").write_text("name = 'found'\n", "utf-8")
    (beside / "main.py").write_text(
        "import beside, subprocess, sys\n"
        "print(beside.name, *sys.argv[1:], __name__, flush=True)\n"
        "subprocess.run([sys.executable, '-c', 'import json, argparse'], check=True)\n",
        "utf-8",
    )
    done = run(script_command(beside / "main.py", "--an", "argument"))
    assert (done.returncode, done.stdout.split()) == (
        0,
        ["found", "--an", "argument", "__main__"],
    ), done.stderr
    assert not planted.exists()


def test_the_environment_names_no_code(monkeypatch):
    for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONWARNINGS", "PYTHONUSERBASE"):
        monkeypatch.setenv(name, "planted")
    environment = clean_environment({"WATTBENCH_METER": "estimate"})
    assert "planted" not in environment.values()
    assert environment["WATTBENCH_METER"] == "estimate"
    assert environment["PYTHONUTF8"] == "1"
    assert environment["PATH"] == os.environ["PATH"]


def test_paths_for_comfyui_are_those_of_the_users_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = [
        "--lowvram",
        "--output-directory",
        "out",
        "--temp-directory=tmp",
        "--extra-model-paths-config",
    ]
    assert absolute([*given, "a.yaml", "b.yaml", "--cache-lru", "10"]) == [
        "--lowvram",
        *("--output-directory", str(tmp_path / "out")),
        f"--temp-directory={tmp_path / 'tmp'}",
        *("--extra-model-paths-config", str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")),
        *("--cache-lru", "10"),
    ]


# What others can write


@pytest.fixture
def private(tmp_path):
    """A file that nobody else can write, below folders of the same kind."""
    file = tmp_path / "venv" / "module.py"
    file.parent.mkdir(mode=0o755)
    file.touch(mode=0o644)
    return file


@posix_only
def test_private_code_passes(private):
    check_private(private, OWNERS)
    check_private(private.with_name("missing.py"), OWNERS)


@posix_only
@pytest.mark.parametrize("of_folder", [False, True])
def test_code_that_all_can_write_is_refused(private, of_folder):
    (private.parent if of_folder else private).chmod(0o777)
    with pytest.raises(UnsafeCodeError, match="can be written by every user"):
        check_private(private, OWNERS)


@posix_only
def test_a_sticky_folder_protects_what_is_in_it(private):
    private.parent.chmod(0o777 | stat.S_ISVTX)
    check_private(private, OWNERS)


@posix_only
def test_code_of_another_user_is_refused(private):
    with pytest.raises(UnsafeCodeError, match=f"belongs to user {os.getuid()}"):
        check_private(private, (os.getuid() + 1,))


@posix_only
def test_what_a_link_leads_to_is_looked_at(private, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(private.parent, target_is_directory=True)
    check_private(link / "module.py", OWNERS)
    private.chmod(0o666)
    with pytest.raises(UnsafeCodeError, match=r"module\.py can be written"):
        check_private(link / "module.py", OWNERS)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give files away")
def test_a_group_with_other_members_is_refused(private):
    import pwd

    user = next(one for one in pwd.getpwall() if one.pw_uid not in OWNERS)
    os.chown(private, 0, user.pw_gid)
    check_private(private, (0,))
    private.chmod(0o664)
    with pytest.raises(UnsafeCodeError, match=f"by group {user.pw_gid}"):
        check_private(private, (0,))
    check_private(private, (0, *bootstrap._members(user.pw_gid)))


GROUP_OF_ROOT = [
    ({"pw_uid": 1000, "pw_gid": 0}, [], True),
    ({"pw_uid": 999, "pw_gid": 0}, [], False),
    ({"pw_uid": 1000, "pw_gid": 7}, ["moth"], True),
    ({"pw_uid": 1000, "pw_gid": 7}, [], False),
]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize(("user", "listed", "is_refused"), GROUP_OF_ROOT)
@pytest.mark.parametrize("is_linked", [False, True])
def test_root_s_own_group_may_have_people_in_it(
    private, tmp_path, monkeypatch, user, listed, is_refused, is_linked
):
    """A folder of packages that the group can write, also one that a link leads to."""
    import grp
    import pwd

    root = SimpleNamespace(pw_name="root", pw_uid=0, pw_gid=0)
    monkeypatch.setattr(pwd, "getpwall", lambda: [root, SimpleNamespace(pw_name="moth", **user)])
    monkeypatch.setattr(grp, "getgrgid", lambda gid: SimpleNamespace(gr_mem=listed))
    os.chown(private.parent, 0, 0)
    private.parent.chmod(0o775)
    file = private
    if is_linked:
        (tmp_path / "linked").symlink_to(private.parent, target_is_directory=True)
        file = tmp_path / "linked" / private.name
    if is_refused:
        with pytest.raises(UnsafeCodeError, match="by group 0, which user 1000 is in"):
            check_private(file, (0,))
    else:
        check_private(file, (0,))


@posix_only
def test_a_module_that_all_can_write_is_refused_by_the_privileged_child(tmp_path, monkeypatch):
    """A package that the guardian needs, beside the right ones."""
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "psutil.py").write_text("raise SystemExit('it ran')\n", "utf-8")
    (packages / "psutil.py").chmod(0o666)
    monkeypatch.setattr("wattbench.processes.children._packages", lambda: [str(packages)])
    done = run(pack_command("measure.power_limit.guardian", "nvml:0", owners=OWNERS))
    assert done.returncode == bootstrap.UNSAFE
    assert done.stdout.startswith('{"error": "refused: ')
    assert "psutil.py can be written by every user" in done.stdout
    assert "it ran" not in done.stdout + done.stderr


# How they end

HOLD = """
import subprocess, sys, time
from pathlib import Path
from wattbench.processes.children import Child, script_command
child = Child(script_command(Path(sys.argv[1])))
time.sleep(600)
"""
FAMILY = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import signal, time\\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\\ntime.sleep(600)"])
with open("PIDS.new", "w") as file:
    file.write(f"{os.getpid()} {grandchild.pid}")
os.rename("PIDS.new", "PIDS")
time.sleep(600)
"""


@pytest.fixture
def family_script(tmp_path):
    """A script that starts a grandchild, both deaf to SIGTERM, and where it says their numbers."""
    pids = tmp_path / "pids"
    script = tmp_path / "family.py"
    script.write_text(FAMILY.replace("PIDS", str(pids)), "utf-8")
    return script, pids


def alive(pids):
    """Those of the processes that run."""
    found = []
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
        except psutil.NoSuchProcess:
            pass
    return found


def numbers(pids):
    until(pids.exists)
    return [int(word) for word in pids.read_text("utf-8").split()]


@posix_only
def test_a_killed_parent_leaves_nobody(family_script):
    script, pids = family_script
    parent = subprocess.Popen([sys.executable, "-c", HOLD, str(script)])
    family = [*numbers(pids), *(p.pid for p in psutil.Process(parent.pid).children())]
    assert len(alive(family)) == 3
    parent.kill()
    parent.wait()
    until(lambda: not alive(family))


LEAVE = """
import os, signal, sys, time
pids = []
for number in range(2):
    ours, theirs = os.pipe()
    if os.fork() == 0:
        os.setsid()
        pid = os.fork()
        if pid:
            os.write(theirs, str(pid).encode())
            os._exit(0)
        if number:
            os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(1)
    pids.append(os.read(ours, 20).decode())
    os.wait()
with open("PIDS.new", "w") as file:
    file.write(" ".join([str(os.getpid()), *pids]))
os.rename("PIDS.new", "PIDS")
time.sleep(AFTER)
"""
"""Forks twice, in sessions of their own: daemons, whose parent is gone."""

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_CHILD_SUBREAPER")


@pytest.fixture
def leaving_script(tmp_path):
    """A function that makes a script which leaves two daemons and ends after some seconds."""

    def make(after_s=600):
        pids, script = tmp_path / "pids", tmp_path / "leave.py"
        script.write_text(LEAVE.replace("PIDS", str(pids)).replace("AFTER", str(after_s)), "utf-8")
        return script, pids

    return make


@linux_only
def test_a_killed_parent_leaves_no_daemon(leaving_script):
    script, pids = leaving_script()
    parent = subprocess.Popen([sys.executable, "-c", HOLD, str(script)])
    family = numbers(pids)
    assert len(alive(family)) == 3
    assert len({os.getsid(pid) for pid in family}) == 3
    parent.kill()
    parent.wait()
    until(lambda: not alive(family))


@linux_only
@pytest.mark.parametrize("how", ["by itself", "killed", "ended"])
def test_a_command_leaves_no_daemon(leaving_script, how):
    script, pids = leaving_script(0 if how == "by itself" else 600)
    with Child(script_command(script)) as child:
        family = numbers(pids)
        if how == "ended":
            child.end(0.1)
        elif how == "killed":
            os.kill(family[0], signal.SIGKILL)
        code = child.wait(60)
    assert (code == 0) == (how == "by itself")
    until(lambda: not alive(family))


BESIDE_A_GUARDIAN = """
import os, subprocess, sys, time
command = [sys.executable, "-c", "import time; time.sleep(600)"]
guardian = [*command, "wattbench.measure.power_limit.guardian"]
started = [subprocess.Popen(line, start_new_session=True) for line in (guardian, command)]
with open("PIDS.new", "w") as file:
    file.write(" ".join(str(process.pid) for process in started))
os.rename("PIDS.new", "PIDS")
time.sleep(600)
"""


@linux_only
def test_a_guardian_of_a_power_limit_ends_by_itself(tmp_path):
    """It is told by its command, and has the limit to give back first."""
    script, pids = tmp_path / "start.py", tmp_path / "pids"
    script.write_text(
        BESIDE_A_GUARDIAN.replace("PIDS", str(pids)),
        "utf-8",
    )
    parent = subprocess.Popen([sys.executable, "-c", HOLD, str(script)])
    kept, other = numbers(pids)
    parent.kill()
    parent.wait()
    until(lambda: not alive([other]))
    assert alive([kept]) == [kept]
    os.kill(kept, signal.SIGKILL)


@posix_only
def test_a_killed_supervisor_leaves_no_child(family_script):
    script, pids = family_script
    with Child(script_command(script)) as child:
        family = numbers(pids)
        os.kill(child.pid, signal.SIGKILL)
        until(lambda: not alive(family))


@posix_only
@posix_only
@pytest.mark.parametrize("position", [0, 1])
def test_either_of_supervisor_and_watcher_is_enough(family_script, position):
    script, pids = family_script
    parent = subprocess.Popen([sys.executable, "-c", HOLD, str(script)])
    family = numbers(pids)
    [supervisor] = psutil.Process(parent.pid).children()
    watchers = [child for child in supervisor.children() if child.pid not in family]
    assert len(watchers) == 1
    both = [supervisor, *watchers]
    everyone = [*family, *(process.pid for process in both)]
    parent.send_signal(signal.SIGSTOP)  # It cannot notice anything before it is killed.
    both[position].kill()
    parent.kill()
    parent.wait()
    until(lambda: not alive(everyone))


@posix_only
def test_what_a_command_leaves_behind_ends_with_it(family_script):
    script, pids = family_script
    with Child(script_command(script)) as child:
        family = numbers(pids)
        os.kill(family[0], signal.SIGKILL)
        assert child.wait(60) == -signal.SIGKILL
    until(lambda: not alive(family))


@posix_only
def test_end_reaches_all_by_force(family_script):
    script, pids = family_script
    with Child(script_command(script)) as child:
        family = [child.pid, *numbers(pids)]
        child.end(patience_s=0.2)
    assert not alive(family)


@posix_only
@pytest.mark.parametrize("patience_s", [0.0, 60.0])
@pytest.mark.parametrize("is_waited_for", [False, True])
def test_who_was_ended_has_not_succeeded(tmp_path, patience_s, is_waited_for):
    """Also for a thread that waits for it meanwhile, as whoever reads its output does."""
    script, begun = tmp_path / "sleeps.py", tmp_path / "begun"
    script.write_text(f"import time; open({str(begun)!r}, 'w').close(); time.sleep(600)", "utf-8")
    codes = []
    with Child(script_command(script)) as child:
        until(begun.exists)
        thread = threading.Thread(target=lambda: codes.append(child.wait()))
        if is_waited_for:
            thread.start()
        child.end(patience_s)
        if is_waited_for:
            thread.join()
    assert {*codes, child.returncode} <= {-signal.SIGTERM, -signal.SIGKILL}


@posix_only
def test_a_child_outlives_the_thread_that_started_it(family_script):
    script, pids = family_script
    children = []
    thread = threading.Thread(target=lambda: children.append(Child(script_command(script))))
    thread.start()
    thread.join()
    family = numbers(pids)
    assert alive(family) == family
    children[0].end(patience_s=0.1)


@posix_only
def test_a_forgotten_child_ends(family_script):
    script, pids = family_script
    child = Child(script_command(script))
    family = numbers(pids)
    process = psutil.Process(child.pid)
    child.returncode = 0  # Else Popen complains that it still runs, which is what is wanted here.
    del child
    until(lambda: not alive(family))
    process.wait(60)


@posix_only
@pytest.mark.parametrize(
    ("code", "expected"),
    [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 15)", -15), ("", 0)],
)
def test_its_exit_code_is_the_commands(tmp_path, code, expected):
    script = tmp_path / "ends.py"
    script.write_text(code, "utf-8")
    with Child(script_command(script)) as child:
        assert child.wait() == expected


def test_a_command_that_is_not_there(tmp_path):
    done = run([str(tmp_path / "missing")])
    assert done.returncode != 0
    assert "missing" in done.stderr


class Kernel32:
    """Takes the calls that a Job Object needs, as Windows documents them, and notes them."""

    def __init__(self, refuse=""):
        self.calls = []
        self._refuse = refuse

    def __getattr__(self, name):
        def call(*arguments):
            self.calls.append((name, arguments))
            return 0 if name == self._refuse else 70 + len(self.calls)

        setattr(self, name, call)
        return call


def test_a_job_object_is_made_and_closed():
    kernel32 = Kernel32()
    close = windows_job.tie_to_this_process(4711, kernel32)
    names = [name for name, _ in kernel32.calls]
    assert names == [
        *("CreateJobObjectW", "OpenProcess", "SetInformationJobObject"),
        *("AssignProcessToJobObject", "CloseHandle"),
    ]
    assert kernel32.calls[1][1] == (0x0101, False, 4711)
    assert kernel32.calls[2][1][1] == 9
    close()
    assert kernel32.calls[-1][1][0].value == 71
    # As the documentation gives it for 64 bit.
    assert windows_job.ctypes.sizeof(windows_job._ExtendedLimits) == 144


@pytest.mark.parametrize(
    "function", ["CreateJobObjectW", "SetInformationJobObject", "AssignProcessToJobObject"]
)
def test_a_refused_job_is_an_error(function):
    with pytest.raises(OSError, match=f"{function} was refused"):
        windows_job.tie_to_this_process(4711, Kernel32(function))


@pytest.fixture
def tool(tmp_path):
    """Put a program of a name into a folder; the folder."""

    def put(name, folder, mode=0o755):
        place = tmp_path / folder
        place.mkdir()
        program = place / (f"{name}.exe" if os.name == "nt" else name)
        program.write_text("#!/bin/sh\n", "utf-8")
        program.chmod(0o755)
        place.chmod(mode)
        return place

    return put


def test_a_program_is_found_on_path_and_nowhere_else(tool, tmp_path, monkeypatch):
    trusted, here = tool("a-tool", "trusted"), tool("a-tool", "here")
    monkeypatch.chdir(here)
    for entries in ([""], ["."], ["../here"], [str(tmp_path / "none")]):
        monkeypatch.setenv("PATH", os.pathsep.join(entries))
        assert find_program("a-tool") is None
    monkeypatch.setenv("PATH", os.pathsep.join([".", "", str(trusted)]))
    assert Path(find_program("a-tool")).parent == trusted
    assert find_program("another-tool") is None


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
@pytest.mark.parametrize(("mode", "is_found"), [(0o757, False), (0o1777, False), (0o775, True)])
def test_a_folder_that_everybody_can_fill_is_not_looked_into(tool, monkeypatch, mode, is_found):
    monkeypatch.setenv("PATH", str(tool("a-tool", "folder", mode)))
    assert (find_program("a-tool") is not None) == is_found
