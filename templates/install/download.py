"""Lists and fetches a model's files from Hugging Face, ModelScope, or a mirror of either. Runs on a node.

    download.py list  < request      prints {"revision": COMMIT, "files": [[path, size, sha256, sha1, revision], ...]}
    download.py fetch < request      fetches "files" of the request into the folder that it is started in

One file, standard library alone, Python 3.6 or later: it runs with whatever a node or an image has. The token is read
from the request, never from the command line, and sent to the hub's own host only, not to where it redirects to.

A file lies beside its place as NAME.part until its checksum is the hub's; what broke off goes on where it was. A line
"progress DONE TOTAL RATE FILES OF" every two seconds; the last line of a failure is "failed KIND WORDS".
"""

import errno
import hashlib
import json
import os
import pickle
import re
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException

PIECE = 1 << 20
TRIES = 8  # in a row without a byte gained
LONGEST_PAUSE = 60.0
SILENCE = 60.0  # seconds without a byte after which a connection counts as cut
AT_ONCE = 8
CACHE = ".qnext-verified"
UNWRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
EXITS = {"token": 3, "absent": 4, "space": 28, "write": 13, "sum": 65, "network": 69, "answer": 76}


class Failed(Exception):
    def __init__(self, kind, words):
        super().__init__(words)
        self.kind = kind


class Wait(Exception):
    """Worth another try, after so many seconds where the server says so. gained: this one brought something."""

    def __init__(self, words, seconds=None, gained=False):
        super().__init__(words)
        self.seconds = seconds
        self.gained = gained


# ---- HTTP


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows, and leaves the token behind where the next host is another one."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and place(newurl) != place(req.full_url):
            for name in ("Authorization", "Cookie"):
                following.headers.pop(name, None)
        return following

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302


def place(url):
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.netloc


def opener(request):
    proxy = request.get("proxy")
    handlers = [Redirects()]
    if proxy:
        handlers.append(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
    return urllib.request.build_opener(*handlers)


def headers(request):
    found = {"User-Agent": "qnext-provision", "Accept-Encoding": "identity"}
    token = request.get("token")
    if token:
        found["Authorization"] = "Bearer " + token
        if request["kind"] == "modelscope":
            found["Cookie"] = "m_session_id=" + token
    return found


def get(request, url, start=0):
    """The open answer. Raises Failed, or Wait where another try may help."""
    asked = urllib.request.Request(url, headers=headers(request))
    if start:
        asked.add_header("Range", f"bytes={start}-")
    try:
        return request["opener"].open(asked, timeout=request.get("silence", SILENCE))
    except urllib.error.HTTPError as error:
        raise refusal(request, url, error) from error
    except (urllib.error.URLError, HTTPException, OSError) as error:
        words = f"{place(url)[1]}: {getattr(error, 'reason', error)}"
        if "CERTIFICATE_VERIFY" in words:
            raise Failed("network", words) from error
        raise Wait(words) from error


def refusal(request, url, error):
    where, code, repository = place(url)[1], error.code, request["repository"]
    if code in (401, 403):
        # Hugging Face answers 401 for a repository that is not there, too, and says which in this header.
        if error.headers.get("X-Error-Code") == "RepoNotFound" and request.get("token"):
            return Failed("absent", f"{where} has no {repository} that this token may see")
        said = error.headers.get("X-Error-Message") or error.reason
        return Failed("token", f"{where} answers {code} to {repository}: {said}")
    if code == 404:
        return Failed("absent", f"{where} has no {repository} at revision {request['revision']} (404)")
    if code == 416:
        return Wait("416", 0)
    if code == 429 or code >= 500 or code == 408:
        after = error.headers.get("Retry-After", "")
        return Wait(f"{where} answers {code}", float(after) if after.isdigit() else None)
    return Failed("answer", f"{where} answers {code} {error.reason} to {urllib.parse.urlsplit(url).path}")


def patiently(do, request):
    """do(), again after pauses that grow while it asks for another try and gains nothing."""
    idle, tries, patience = 0, request.get("tries", TRIES), request.get("patience", 1.0)
    while True:
        try:
            return do()
        except Wait as wait:
            idle = 0 if wait.gained else idle + 1
            if idle >= tries:
                raise Failed("network", f"{wait}, {tries} times") from wait
            pause = min(LONGEST_PAUSE, 2.0**idle / 2) if wait.seconds is None else wait.seconds
            say(f"again in {pause * patience:.0f} s: {wait}")
            time.sleep(min(pause, 10 * LONGEST_PAUSE) * patience)


def ask(request, url):
    """The JSON that a hub answers, and the address of its next page."""

    def do():
        try:
            with get(request, url) as answer:
                return answer.read().decode("utf-8"), answer.headers.get("Link", "")
        except (HTTPException, OSError) as error:
            raise Wait(f"{place(url)[1]}: {error}") from error

    text, link = patiently(do, request)
    try:
        said = json.loads(text)
    except ValueError:
        raise Failed("answer", f"{url} does not answer as a hub: {' '.join(text.split())[:80]}") from None
    following = re.search(r'<([^>]+)>;\s*rel="next"', link)
    return said, here(url, following.group(1)) if following else ""


def here(url, following):
    """The next page at the host that was asked: a mirror hands on the links of the hub that it mirrors, which may be
    out of reach, and is not whom the token is for."""
    return urllib.parse.urlunsplit(place(url) + urllib.parse.urlsplit(urllib.parse.urljoin(url, following))[2:])


# ---- hubs


def list_huggingface(request):
    """/api/models/REPO/revision/REV names the commit, /tree/COMMIT its files: large ones with their SHA-256 (lfs.oid),
    small ones with that of git, SHA-1 over "blob SIZE NUL content"."""
    base = f"{request['endpoint']}/api/models/{request['repository']}"
    said, _ = ask(request, f"{base}/revision/{urllib.parse.quote(request['revision'], safe='')}")
    commit = said.get("sha", "") if isinstance(said, dict) else ""
    if not re.match(r"[0-9a-f]{40}\Z", commit):
        raise Failed("answer", f"{place(base)[1]} names no commit of {request['repository']}")
    files, url = [], f"{base}/tree/{commit}?recursive=1"
    while url:
        rows, url = ask(request, url)
        for row in rows if isinstance(rows, list) else []:
            lfs = row.get("lfs") or {}
            if row.get("type") == "file":
                size = lfs.get("size", row.get("size", 0))
                sha1 = "" if lfs else row.get("oid", "")
                files.append([row["path"], size, lfs.get("oid", ""), sha1, commit])
    return {"revision": commit, "files": files}


def list_modelscope(request):
    """/api/v1/models/REPO/repo/files: {"Code": 200, "Data": {"Files": [{Path, Size, Sha256, Type, Revision}]}}."""
    revision = urllib.parse.quote(request["revision"], safe="")
    base = f"{request['endpoint']}/api/v1/models/{request['repository']}"
    url = f"{base}/repo/files?Revision={revision}&Recursive=True"
    said, _ = ask(request, url)
    rows = (said.get("Data") or {}).get("Files") if isinstance(said, dict) else None
    if rows is None:
        words = said.get("Message", "") if isinstance(said, dict) else ""
        raise Failed("absent", f"{place(url)[1]} tells no files of {request['repository']}: {words}")
    blobs = [row for row in rows if row.get("Type") != "tree"]
    files = [[row["Path"], row.get("Size", 0), row.get("Sha256") or "", "", row.get("Revision", "")] for row in blobs]
    return {"revision": request["revision"], "files": files}


def address(request, path):
    base, repository = request["endpoint"], request["repository"]
    if request["kind"] == "huggingface":
        return f"{base}/{repository}/resolve/{request['commit']}/{urllib.parse.quote(path)}"
    revision, name = (urllib.parse.quote(text, safe="") for text in (request["commit"], path))
    return f"{base}/api/v1/models/{repository}/repo?Revision={revision}&FilePath={name}"


# ---- fetching


class Work:
    def __init__(self, request):
        self.request = request
        self.files = sorted(request["files"], key=lambda file: -file[1])
        self.total = sum(file[1] for file in self.files)
        self.lock = threading.Lock()
        self.lengths = {}
        self.done = 0
        self.error = None
        self.began = time.time()
        self.at_start = None

    def run(self):
        for path, size, _, _, _ in self.files:
            self.lengths[path] = min(size, length(path + ".part"))
        self.at_start = sum(self.lengths.values())
        workers = [threading.Thread(target=self.work) for _ in range(min(AT_ONCE, max(1, len(self.files))))]
        for worker in workers:
            worker.daemon = True
            worker.start()
        told = 0.0
        while any(worker.is_alive() for worker in workers) and not self.error:
            time.sleep(0.05)
            if time.time() - told >= 2.0:
                told = time.time()
                self.tell()
        if self.error:
            raise self.error
        self.tell()

    def work(self):
        try:
            while not self.error:
                with self.lock:
                    if not self.files:
                        return
                    file = self.files.pop(0)
                self.fetch(*file)
                with self.lock:
                    self.done += 1
        except Failed as error:
            self.error = error
        except OSError as error:
            self.error = written(error)
        except BaseException as error:
            self.error = Failed("answer", f"{type(error).__name__}: {error}")

    def fetch(self, path, size, sha256, sha1, revision):
        folder = os.path.dirname(path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        part = path + ".part"
        if os.path.islink(part):  # not ours: nothing is written through it
            os.unlink(part)
        for attempt in (1, 2):
            patiently(lambda: self.copy(path, size), self.request)
            found, blob = sums(part, size)
            if (sha256 and found == sha256) or (not sha256 and (not sha1 or blob == sha1)):
                break
            os.unlink(part)
            self.lengths[path] = 0
            what, got, wanted = ("SHA-256", found, sha256) if sha256 else ("git's SHA-1", blob, sha1)
            say(f"{path}: {what} is {got}, the hub says {wanted}")
            if attempt == 2:
                raise Failed("sum", f"{path} came twice with {what} {got}, the hub says {wanted}")
        settle(part, path)
        with self.lock:
            remember(path, found)
        say(f"fetched {size} {path}")

    def copy(self, path, size):
        """Go on with the file where it is; raises Wait where it broke off."""
        part = path + ".part"
        start = length(part)
        if start > size:
            os.unlink(part)
            start = 0
        if start == size and size:
            return
        try:
            answer = get(self.request, address(self.request, path), start)
        except Wait as wait:
            if str(wait) == "416" and start:
                os.unlink(part)
            raise
        began = start
        with answer:
            if start and not continues(answer, start):
                start = began = 0
            with open(part, "r+b" if start else "wb") as out:
                out.seek(start)
                out.truncate()
                try:
                    while start <= size and not self.error:
                        piece = answer.read(PIECE)
                        if not piece:
                            break
                        out.write(piece)
                        start += len(piece)
                        self.lengths[path] = start
                except (HTTPException, OSError) as error:
                    if getattr(error, "errno", None) in UNWRITTEN:
                        raise
                    raise Wait(f"{path} broke off at {start} of {size}: {error}", gained=start > began) from error
                out.flush()
                os.fsync(out.fileno())
        if start < size and not self.error:
            raise Wait(f"{path} broke off at {start} of {size}", gained=start > began)
        if start > size:
            os.unlink(part)
            raise Failed("answer", f"{path} has more than the {size} bytes that the hub tells")

    def tell(self):
        now = sum(self.lengths.values())
        rate = (now - self.at_start) / max(0.001, time.time() - self.began)
        say(f"progress {now} {self.total} {rate:.0f} {self.done} {len(self.lengths)}")


def continues(answer, start):
    """Whether the answer begins where it was asked to."""
    code = answer.getcode()
    return code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def length(path):
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def sums(path, size):
    """SHA-256, and what git calls the file."""
    found, blob = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size)
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(PIECE), b""):
            found.update(piece)
            if size < 64 << 20:
                blob.update(piece)
    return found.hexdigest(), blob.hexdigest()


def settle(part, path):
    """Into its place. A link of a hub's cache is replaced, not written through: other revisions share its target."""
    os.replace(part, path)
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remember(path, sha256):
    about = os.stat(path)
    seconds, rest = divmod(about.st_mtime_ns, 10**9)
    stamp = f"{about.st_size} {seconds}.{rest:09d} {about.st_ino}"
    if os.path.islink(CACHE):
        os.unlink(CACHE)
    with open(CACHE, "a") as cache:
        cache.write(f"{sha256} {stamp} {path}\n")


def index(request):
    """ModelScope's client believes in files that its index names: .msc, a pickled list of paths and commits."""
    if request.get("index"):
        rows = [{"Path": path, "Revision": revision} for path, _, _, _, revision in request["all"]]
        with open(".msc.new", "wb") as file:
            pickle.dump(rows, file, 2)
        os.replace(".msc.new", ".msc")


def written(error):
    kind = "space" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "write"
    return Failed(kind, f"{error.filename or 'writing'}: {error.strerror or error}")


lines = threading.Lock()


def say(line):
    with lines:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def main(words):
    request = json.load(sys.stdin)
    request["opener"] = opener(request)
    try:
        if words[0] == "list":
            found = list_huggingface(request) if request["kind"] == "huggingface" else list_modelscope(request)
            say(json.dumps(found))
        else:
            Work(request).run()
            index(request)
    except Failed as error:
        say(f"failed {error.kind} {error}")
        os._exit(EXITS.get(error.kind, 1))
    except OSError as error:
        say(f"failed {written(error).kind} {written(error)}")
        os._exit(EXITS["write"])


main(sys.argv[1:])
