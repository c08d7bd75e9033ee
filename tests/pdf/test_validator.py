"""The checking processes: hurt by files, killed, timed out, closed; and how little other files notice of it."""

import fcntl
import gc
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import fpdf
import psutil
import pytest
from fpdf.enums import EncryptionMethod

import pdfs
from broken_library import FAULTS, TRIED_EACH_TIME, break_library, mend
from invoicedrop.errors import CheckUnavailable, Rejected, Stopping
from invoicedrop.inbox.snapshot import take_snapshot
from invoicedrop.pdf.check.verdict import PdfFacts
from invoicedrop.pdf.validator import Validator
from invoicedrop.reasons import Reason
from waiting import wait_until

GOOD = pdfs.invoice(padding=20_000)
HERE = Path(__file__).parents[1]


@contextmanager
def in_memory(content: bytes) -> Iterator[int]:
    """Lend a sealed memory file, as the daemon has it."""
    fd = os.memfd_create("invoice", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    try:
        os.write(fd, content)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        yield fd
    finally:
        os.close(fd)


def check(validator: Validator, content: bytes, *, expect: Sequence[str] = ()) -> PdfFacts:
    """Check some content."""
    with in_memory(content) as fd:
        return validator.check(fd, len(content), expect=expect)


def reason(validator: Validator, content: bytes) -> Reason:
    """Return why some content is rejected."""
    with pytest.raises(Rejected) as caught:
        check(validator, content)
    return caught.value.reason


def processes() -> list[psutil.Process]:
    """Return the processes of the checking that this one has started, and that run."""
    return [child for child in psutil.Process().children() if runs(child)]


def runs(process: psutil.Process) -> bool:
    """Whether a process of the checking has not ended."""
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return "invoicedrop.pdf.worker" in " ".join(process.cmdline())
    return False


def children() -> list[psutil.Process]:
    """Return those that check PDFs: all but the template, whose session they are in."""
    return [process for process in processes() if not is_template(process)]


def is_template(process: psutil.Process) -> bool:
    """Whether a process is one from which others are forked."""
    with suppress(ProcessLookupError):
        return os.getsid(process.pid) == process.pid
    return False


def private(process: psutil.Process) -> set[str]:
    """Return which sockets and pipes a process holds."""
    links = [str(entry.readlink()) for entry in Path(f"/proc/{process.pid}/fd").iterdir()]
    return {link for link in links if link.startswith(("socket:", "pipe:"))}


def template() -> psutil.Process:
    """Return the process from which the others are forked."""
    (leader,) = filter(is_template, processes())
    return leader


@contextmanager
def descriptors_left(spare: int) -> Iterator[None]:
    """Leave this process only a few descriptors, wherever in its table it has free ones."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as at_end:
        at_end.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + spare, hard))
        taken = []
        with suppress(OSError):
            while True:
                taken.append(os.dup(2))
        for number, fd in enumerate(reversed(taken)):
            if number < spare:
                os.close(fd)
            else:
                at_end.callback(os.close, fd)
        yield


@pytest.fixture
def validator() -> Iterator[Validator]:
    """A validator as the daemon has it; afterwards none of its processes is left."""
    with closing(Validator(timeout=20, memory_mb=512)) as validator:
        yield validator
    assert not processes()


@pytest.fixture
def stubbed() -> Iterator[Callable[..., Validator]]:
    """Make a validator whose processes do what their files say."""
    with ExitStack() as at_end:

        def make(*, check: str = "obedient", timeout: float = 20, workers: int = 2, **more: Any) -> Validator:
            validator = Validator(timeout=timeout, memory_mb=512, workers=workers, check=f"stub_checks:{check}", **more)
            return at_end.enter_context(closing(validator))

        yield make
    assert not processes()


def test_good_invoice(validator: Validator) -> None:
    """A good invoice's facts come back from the other process."""
    assert check(validator, pdfs.factur_x("PO-7"), expect=["PO-7"]) == PdfFacts(
        pages=1, version="1.7", producer="Test (1)", pdfa="3B", einvoice="Factur-X", order_number_found=True
    )


def test_ordinary_file(validator: Validator) -> None:
    """A temporary file without a name does as well as memory; where it was read to makes no difference."""
    with tempfile.TemporaryFile() as file:
        file.write(GOOD)
        file.flush()
        assert validator.check(file.fileno(), len(GOOD)).pages == 1
        assert file.tell() == len(GOOD)


def test_only_the_size_that_is_given_is_read(validator: Validator) -> None:
    """Bytes behind the size are not checked; a file that is shorter than it counts as half-copied."""
    with in_memory(GOOD + b"5 0 obj") as fd:
        assert validator.check(fd, len(GOOD)).pages == 1
        with pytest.raises(Rejected) as caught:
            validator.check(fd, len(GOOD) + 4096)
    assert caught.value.reason is Reason.INCOMPLETE


def test_empty_file_needs_no_process(validator: Validator) -> None:
    """An empty file is rejected at once."""
    assert reason(validator, b"") is Reason.EMPTY
    assert not processes()


def test_limit_of_pages(validator: Validator) -> None:
    """The limit of pages reaches the check."""
    pdf = pdfs.invoice(pages=4)
    with in_memory(pdf) as fd:
        assert validator.check(fd, len(pdf), max_pages=4).pages == 4
        with pytest.raises(Rejected) as caught:
            validator.check(fd, len(pdf), max_pages=3)
    assert caught.value.reason is Reason.TOO_MANY_PAGES


def test_aes(validator: Validator) -> None:
    """A PDF that is encrypted with AES against changes, but not against reading, passes; a password still counts."""
    for password, expected in (("", 1), ("theirs", Reason.ENCRYPTED)):
        document = fpdf.FPDF()
        document.add_page()
        document.set_font("helvetica", size=12)
        document.cell(text="Invoice 8355")
        document.set_encryption(
            owner_password="ours", user_password=password, encryption_method=EncryptionMethod.AES_256
        )
        assert outcome(validator, bytes(document.output())) == expected
    assert check(validator, GOOD).pages == 1


def test_one_process_does_most_of_the_work(validator: Validator) -> None:
    """Files that come one after the other are checked by one process, which keeps no descriptors of them."""
    check(validator, GOOD)
    (child,) = children()
    before, ours = child.num_fds(), psutil.Process().num_fds()
    for _ in range(30):
        check(validator, GOOD)
    assert children() == [child]
    assert (child.num_fds(), psutil.Process().num_fds()) == (before, ours)


def test_environment_of_the_process(validator: Validator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token in our environment is not in that of a checking process, and no program is on its path."""
    monkeypatch.setenv("INVOICEDROP_API_TOKEN", "secret-token")
    check(validator, GOOD)
    (child,) = children()
    assert "secret-token" not in str(child.environ())
    # Without a PATH, the system's own folders would be searched (os.confstr, CS_PATH).
    assert child.environ()["PATH"] == ""


def test_limits_of_the_process(validator: Validator) -> None:
    """A checking process may dump no core, write no file, start nothing, and take only so much memory."""
    check(validator, GOOD)
    (child,) = children()
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC):
        assert child.rlimit(limit) == (0, 0)
    soft, hard = child.rlimit(resource.RLIMIT_AS)
    assert soft == hard <= child.memory_info().vms + 512 * 2**20


def test_descriptors_of_the_process(stubbed: Callable[..., Validator]) -> None:
    """A checking process holds its own connection and lifeline alone; the template, none of the checking processes'."""
    validator = stubbed(workers=3)
    with ThreadPoolExecutor(3) as threads:
        under_way = [threads.submit(outcome, validator, b"SLEEP\n") for _ in range(3)]
        wait_until(lambda: len(children()) == 3, what="three checks to be under way")
        wait_until(lambda: [len(own) for own in map(private, processes())] == [2] * 4, what="all of them to be ready")
        assert len(set().union(*map(private, processes()))) == 8
        validator.close()
        assert all(isinstance(future.exception(), Stopping) for future in under_way)


def test_ctrl_c_is_not_for_the_process(validator: Validator) -> None:
    """An interrupt from the terminal does not reach a checking process, and does not end it."""
    check(validator, GOOD)
    (child,) = children()
    assert os.getsid(child.pid) != os.getsid(0)
    child.send_signal(signal.SIGINT)
    check(validator, GOOD)
    assert children() == [child]


def test_idle_processes_do_nothing(validator: Validator) -> None:
    """A process without a file to check is never woken."""
    check(validator, GOOD)
    (child,) = children()
    wait_until(lambda: child.status() == psutil.STATUS_SLEEPING, what="the process to be idle")
    before = child.num_ctx_switches().voluntary
    threading.Event().wait(0.4)
    assert child.num_ctx_switches().voluntary == before


def test_warming_up(validator: Validator) -> None:
    """A process started ahead is the one that checks the first file."""
    validator.warm_up()
    wait_until(lambda: len(children()) == 1, what="the process")
    (child,) = children()
    check(validator, GOOD)
    assert children() == [child]


def test_process_that_died_while_idle(validator: Validator) -> None:
    """A process that was killed while it was idle costs no file its verdict."""
    check(validator, GOOD)
    (child,) = children()
    child.kill()
    wait_until(lambda: not children(), what="the process to be gone")
    assert check(validator, GOOD).pages == 1


def test_template_that_died(validator: Validator) -> None:
    """A template that was killed is replaced, and costs no file its verdict; what was forked from it goes on."""
    check(validator, GOOD)
    (child,) = children()
    dead = template()
    dead.kill()
    assert check(validator, GOOD).pages == 1
    assert children() == [child]
    child.kill()
    assert check(validator, GOOD).pages == 1
    assert template() != dead


def test_crash_that_does_not_repeat(stubbed: Callable[..., Validator]) -> None:
    """A crash gets a second try in a fresh process, whose verdict counts."""
    content = b"ONCE\n" + GOOD
    with in_memory(content) as fd:
        os.lseek(fd, 0, os.SEEK_SET)
        assert stubbed().check(fd, len(content)).pages == 1
        # What the first one did before it died.
        assert os.lseek(fd, 0, os.SEEK_CUR) == 1


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (b"SEGFAULT", Reason.CHECK_CRASHED),
        pytest.param(b"KILL", Reason.CHECK_CRASHED, marks=pytest.mark.soak),
        (b"BABBLE", Reason.CHECK_CRASHED),
        (b"FORGE", Reason.CHECK_CRASHED),
        pytest.param(b"INVENT", Reason.CHECK_CRASHED, marks=pytest.mark.soak),
        (b"HOG", Reason.DAMAGED),
        (b"RECURSE", Reason.DAMAGED),
        (b"FAIL", Reason.DAMAGED),
    ],
)
def test_one_file_hurts_only_itself(stubbed: Callable[..., Validator], order: bytes, expected: Reason) -> None:
    """Whatever a file does to its process, it alone gets the verdict, and the next one is checked."""
    validator = stubbed()
    assert reason(validator, order + b"\n") is expected
    assert check(validator, GOOD).pages == 1


def test_the_process_writes_no_files(stubbed: Callable[..., Validator], tmp_path: Path) -> None:
    """A checking process cannot write to the disk, whatever a file makes it do."""
    target = tmp_path / "written"
    assert reason(stubbed(), b"WRITE\n%b\n" % str(target).encode()) is Reason.DAMAGED
    assert not target.exists() or target.stat().st_size == 0


@pytest.mark.parametrize("order", [b"SLEEP", b"LOOP"])
def test_time_limit(stubbed: Callable[..., Validator], order: bytes) -> None:
    """A check that does not end is ended after twice its limit; its second try does not give way to other processes."""
    validator = stubbed(timeout=0.6)
    check(validator, GOOD)
    priorities: dict[int, int] = {}
    with ThreadPoolExecutor(1) as threads:
        started = time.monotonic()
        rejected = threads.submit(reason, validator, order + b"\n")
        while not rejected.done():
            with suppress(psutil.NoSuchProcess):
                priorities |= {child.pid: child.nice() for child in children()}
            time.sleep(0.01)
    assert rejected.result() is Reason.CHECK_TIMEOUT
    assert 1.2 <= time.monotonic() - started < 10
    assert list(priorities.values())[:2] == [10, 0]
    assert check(validator, GOOD).pages == 1


@pytest.mark.parametrize(
    ("broken_check", "timeout"), [("killed", 20), ("incomplete", 20), ("without_memory", 20), ("stuck", 0.6)]
)
def test_broken_check_is_no_verdict(
    stubbed: Callable[..., Validator],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken_check: str,
    timeout: float,
) -> None:
    """If the check fails on every file, no file is blamed; mended, it passes good ones and blames bad ones again."""
    monkeypatch.syspath_prepend(tmp_path)
    broken = tmp_path / "broken"
    broken.touch()
    validator = stubbed(check=broken_check, timeout=timeout)
    with pytest.raises(CheckUnavailable, match="good ones too"):
        check(validator, GOOD)
    broken.unlink()
    assert check(validator, GOOD).pages == 1
    assert reason(validator, b"KILL\n") is Reason.CHECK_CRASHED


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, id=name, marks=() if name in TRIED_EACH_TIME else pytest.mark.soak)
        for name, fault in FAULTS.items()
    ],
)
def test_broken_library_is_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """Whatever a broken library does, neither a good nor a bad file is blamed; mended, each gets its verdict."""
    library = break_library(tmp_path, fault)
    monkeypatch.syspath_prepend(library)
    good = pdfs.fpdf2("Order no 8355", restricted=True)
    with closing(Validator(timeout=2, memory_mb=512)) as validator:
        for content in (good, good[:-400]):
            with pytest.raises(CheckUnavailable):
                check(validator, content, expect=["8355"])
        mend(library)
        assert check(validator, good, expect=["8355"]).order_number_found
        assert reason(validator, good[:-400]) is Reason.INCOMPLETE


def test_check_that_is_mended_meanwhile(
    stubbed: Callable[..., Validator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that hangs and is mended while it is tried a second time has blamed nothing."""
    monkeypatch.syspath_prepend(tmp_path)
    broken = tmp_path / "broken"
    broken.touch()
    validator = stubbed(check="stuck", timeout=2)
    validator.warm_up()
    wait_until(lambda: len(children()) == 1, what="the first process")
    (first,) = children()
    with ThreadPoolExecutor(1) as threads:
        checked = threads.submit(check, validator, GOOD)
        wait_until(lambda: any(child != first and has_a_pdf(child) for child in children()), what="the second try")
        broken.unlink()
        with suppress(CheckUnavailable):
            assert checked.result().pages == 1
    assert check(validator, GOOD).pages == 1


def has_a_pdf(process: psutil.Process) -> bool:
    """Whether a process has been handed a PDF."""
    with suppress(FileNotFoundError):
        return any("memfd:" in str(entry.readlink()) for entry in Path(f"/proc/{process.pid}/fd").iterdir())
    return False


def test_memory_that_is_not_to_be_had() -> None:
    """Where we get less memory than a check may take, a file that needs more than there is is not blamed."""
    program = Path(__file__).with_name("ask_validator.py")
    done = subprocess.run(
        [sys.executable, program, "hog"],
        env=os.environ | {"PYTHONPATH": str(HERE)},
        stdout=subprocess.PIPE,
        check=True,
    )
    assert b"memory" in done.stdout
    assert b"CheckUnavailable" in done.stdout


def test_file_that_does_not_fit_into_the_memory(stubbed: Callable[..., Validator]) -> None:
    """A file that is larger than the memory that a check may take is not blamed for that."""
    with os.fdopen(os.memfd_create("invoice"), "wb") as file:
        file.truncate(2**30)
        with pytest.raises(CheckUnavailable, match="of its size"):
            stubbed().check(file.fileno(), 2**30)


@pytest.mark.parametrize("sealed", [True, False])
def test_taken_over_process_cannot_change_what_is_sent(
    stubbed: Callable[..., Validator], tmp_path: Path, *, sealed: bool
) -> None:
    """Whatever a process tries with the descriptor changes no byte of a document; without seals, it would."""
    content = b"TAMPER\n" + GOOD
    (tmp_path / "8355.pdf").write_bytes(content)
    with ExitStack() as at_end:
        if sealed:
            document = at_end.enter_context(take_snapshot(tmp_path / "8355.pdf", len(content)))
            fd = document.fd
        else:
            fd = os.memfd_create("invoice")
            at_end.callback(os.close, fd)
            os.write(fd, content)
        with pytest.raises(Rejected) as caught:
            stubbed().check(fd, len(content))
        if sealed:
            assert caught.value.detail == "nothing"
            assert bytes(document.view) == os.pread(fd, len(content) + 1, 0) == content
        else:
            assert "map" in caught.value.detail
            assert os.pread(fd, len(content), 0) != content


def test_fresh_process_after_some_files(stubbed: Callable[..., Validator]) -> None:
    """A process makes room for a fresh one after `max_files` files."""
    validator = stubbed(max_files=3)
    seen = []
    for _ in range(7):
        check(validator, GOOD)
        seen += [child.pid for child in children()]
    # After each third file there is none.
    assert [seen.count(pid) for pid in dict.fromkeys(seen)] == [2, 2, 1]


def test_slow_files_do_not_hold_up_the_rest(stubbed: Callable[..., Validator]) -> None:
    """With more endless files than places, good ones behind them wait far less than the limit of one check."""
    limit = 5
    validator = stubbed(timeout=limit, workers=2)
    check(validator, GOOD)
    with ThreadPoolExecutor(16) as threads:
        endless = [threads.submit(reason, validator, b"SLEEP\n") for _ in range(8)]
        wait_until(lambda: len(children()) >= 6, what="the endless files to be under way")
        started = time.monotonic()
        for good in [threads.submit(check, validator, GOOD) for _ in range(40)]:
            assert good.result().pages == 1
        assert time.monotonic() - started < limit
        assert not any(future.done() for future in endless)
        validator.close()
        for future in endless:
            assert isinstance(future.exception(), Stopping)


@pytest.mark.long
@pytest.mark.parametrize("good_ones", [100, pytest.param(200, marks=pytest.mark.soak)])
def test_a_mix_of_good_and_hostile(stubbed: Callable[..., Validator], good_ones: int) -> None:
    """Among good files, 30 hostile ones get their verdicts; no good one waits a limit long, and we do not grow."""
    limit = 3.5
    validator = stubbed(timeout=limit, workers=2)
    harmful = [order + b"\n" for order in (b"SEGFAULT", b"KILL", b"BABBLE", b"SLEEP", b"HOG", b"FAIL")]
    acting = [pdf for pdf, why in pdfs.acting().values() if why != "ok"]
    bad = [*harmful, *acting, *acting][:30]
    assert len(bad) == 30
    check(validator, GOOD)
    gc.collect()
    before = psutil.Process().memory_info().rss
    waited: list[float] = []

    def good() -> int:
        started = time.monotonic()
        pages = check(validator, GOOD).pages
        waited.append(time.monotonic() - started)
        return pages

    with ThreadPoolExecutor(24) as threads:
        futures: list[Future[object]] = []
        for n in range(good_ones):
            futures.append(threads.submit(good))
            if n % 3 == 0 and bad:
                futures.append(threads.submit(outcome, validator, bad.pop()))
        results = [future.result() for future in futures]
    assert results.count(1) == good_ones
    assert results.count(Reason.CHECK_TIMEOUT) == 1
    assert results.count(Reason.CHECK_CRASHED) == 3
    assert max(waited) < limit
    assert psutil.Process().memory_info().rss - before < 50 * 2**20


def outcome(validator: Validator, content: bytes) -> object:
    """Return the number of pages, or why it was rejected."""
    try:
        return check(validator, content).pages
    except Rejected as e:
        return e.reason


def test_hostile_pdfs_do_not_make_us_grow(validator: Validator) -> None:
    """Bombs, loops and nests get their reasons through the real process, and our own memory stays as it was."""
    files = pdfs.hostile()
    check(validator, GOOD)
    before = psutil.Process().memory_info().rss
    for name, (pdf, why) in files.items():
        assert outcome(validator, pdf) == (1 if why == "ok" else why), name
    assert psutil.Process().memory_info().rss - before < 50 * 2**20


def test_closing_ends_what_is_under_way(stubbed: Callable[..., Validator]) -> None:
    """Closing stops checks under way and those that wait for a place, and leaves no process."""
    validator = stubbed(workers=1)
    with ThreadPoolExecutor(8) as threads:
        waiting = [threads.submit(reason, validator, b"SLEEP\n") for _ in range(8)]
        wait_until(lambda: len(children()) >= 2, what="checks to be under way")
        validator.close()
        for future in waiting:
            assert isinstance(future.exception(), Stopping)
    assert not processes()
    with pytest.raises(Stopping):
        check(validator, GOOD)


def test_processes_do_not_outlive_us() -> None:
    """When we are killed, a process ends at once, even one in the middle of an endless check."""
    program = Path(__file__).with_name("check_for_ever.py")
    with subprocess.Popen([sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        family = psutil.Process(parent.pid)
        wait_until(
            lambda: any(child.cpu_times().user > 0.6 and child.status() == "running" for child in family.children()),
            what="the endless check to run",
        )
        orphans = family.children()
        parent.kill()
    assert len(orphans) == 3  # with the template
    wait_until(
        lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in orphans),
        what="the processes to end",
    )


def test_process_that_does_not_start() -> None:
    """If no process can be started, that is no verdict on the file."""
    validator = Validator(timeout=5, memory_mb=512, check="no_such_module:check")
    with closing(validator), pytest.raises(CheckUnavailable):
        check(validator, GOOD)


def test_no_descriptors_left_for_a_process() -> None:
    """If we have no descriptors left, that is no verdict either, and none are lost by trying."""
    before = psutil.Process().num_fds()
    with closing(Validator(timeout=5, memory_mb=512)) as validator, in_memory(GOOD) as fd:
        for spare in range(6):
            with descriptors_left(spare), pytest.raises(CheckUnavailable):
                validator.check(fd, len(GOOD))
        assert validator.check(fd, len(GOOD)).pages == 1
    assert psutil.Process().num_fds() == before


@pytest.mark.parametrize("exchanges", [500, pytest.param(10_000, marks=pytest.mark.soak)])
def test_no_process_is_lost_without_a_cause(stubbed: Callable[..., Validator], exchanges: int) -> None:
    """However often a process is asked, that never ends it: its lifeline brings a signal for nothing but our end."""
    validator = stubbed(max_files=2 * exchanges)
    check(validator, GOOD)
    before = children()
    with in_memory(GOOD) as fd:
        for _ in range(exchanges):
            validator.check(fd, len(GOOD))
    assert children() == before


def test_closing_twice_and_unused() -> None:
    """A validator that was never used, or was closed already, can be closed."""
    validator = Validator(timeout=5, memory_mb=512)
    validator.close()
    validator.close()


def test_first_come_first_served(stubbed: Callable[..., Validator]) -> None:
    """Many threads at once all get their turn, and their own answers."""
    validator = stubbed(workers=2)
    files = [pdfs.invoice(pages=1 + n % 5) for n in range(5)]
    with ThreadPoolExecutor(64) as threads:
        futures = [threads.submit(check, validator, files[n % 5]) for n in range(200)]
        assert [future.result().pages for future in futures] == [1 + n % 5 for n in range(200)]
    assert len(children()) == 2
