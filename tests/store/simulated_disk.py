"""A disk that loses what was not synced: records a store's calls, then builds what may be left after a power loss.

The rules are the weakest that POSIX leaves a program to rely on. A file's content is on the disk once the file was
synced; a name (made, renamed, removed) once the folder it is in was, for a rename both folders. What was not synced may
be there or not, each change for itself and in any order, and content may be there in part or as zeros. A rename is one
change.
"""

import random
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Inode:
    folder: bool
    data: bytes = b""  # as on the disk before the recording


@dataclass
class Change:
    """One thing that was done, and the files or folders whose sync makes it sure."""

    kind: str  # "content", "add", "remove", "rename"
    needs: set
    inode: int = 0
    data: bytes = b""
    source: tuple = ()  # (folder, name)
    target: tuple = ()


@dataclass
class Recorder:
    """What a Shim calls as ``watch``; begins with the store as it is, all of it on the disk."""

    root: Path
    inodes: list = field(default_factory=list)
    changes: list = field(default_factory=list)  # a Change, or the number of an inode that was synced
    commits: list = field(default_factory=list)  # indexes into changes: begun, and ended by its folder's sync

    def __post_init__(self):
        self._names = {}  # folder -> {name: inode}, as programs see it
        self._open = {}
        self._begun = False
        self.top = self._scan(self.root.parent, only=self.root.name)
        self._first = {folder: dict(names) for folder, names in self._names.items()}

    def _scan(self, path, only=None):
        number = self._new(folder=path.is_dir(), data=b"" if path.is_dir() else path.read_bytes())
        if path.is_dir():
            for below in path.iterdir():
                if only is None or below.name == only:
                    self._names[number][below.name] = self._scan(below)
        return number

    def _new(self, *, folder, data=b""):
        self.inodes.append(Inode(folder, data))
        number = len(self.inodes) - 1
        if folder:
            self._names[number] = {}
        return number

    def _place(self, path):
        """(folder, name) of a path."""
        folder = self.top
        *parents, name = path.relative_to(self.root.parent).parts
        for part in parents:
            folder = self._names[folder][part]
        return folder, name

    def __call__(self, name, arguments, result):
        handler = getattr(self, f"_on_{name}", None)
        if handler is not None:
            handler(arguments, result)

    def _inode(self, path):
        if path == self.root.parent:
            return self.top
        folder, name = self._place(path)
        return self._names[folder].get(name)

    def _on_open_read(self, arguments, descriptor):
        self._open[descriptor] = self._inode(arguments[0])

    _on_open_folder = _on_open_read

    def _on_open_new(self, arguments, descriptor):
        self._open[descriptor] = self._add(arguments[0], self._new(folder=False))

    def _on_open_lock(self, arguments, descriptor):
        known = self._inode(arguments[0])
        self._open[descriptor] = self._add(arguments[0], self._new(folder=False)) if known is None else known

    def _on_mkdir(self, arguments, _):
        self._add(arguments[0], self._new(folder=True))

    def _add(self, path, inode):
        folder, name = self._place(path)
        self._names[folder][name] = inode
        self.changes.append(Change("add", {folder}, inode, target=(folder, name)))
        return inode

    def _on_write(self, arguments, count):
        descriptor, data = arguments
        inode = self._open[descriptor]
        self.changes.append(Change("content", {inode}, inode, data=bytes(data)[:count]))

    def _on_fsync(self, arguments, _):
        inode = self._open[arguments[0]]
        self.changes.append(inode)
        if self._begun and inode == self._inode(self.root):
            self.commits[-1][1] = len(self.changes)
            self._begun = False

    def _on_rename(self, arguments, _):
        source, target = (self._place(path) for path in arguments)
        inode = self._names[source[0]].pop(source[1])
        self._names[target[0]][target[1]] = inode
        self.changes.append(Change("rename", {source[0], target[0]}, inode, source=source, target=target))
        if arguments[1].name == "state.json":
            self.commits.append([len(self.changes) - 1, None])
            self._begun = True

    def _on_unlink(self, arguments, _):
        folder, name = self._place(arguments[0])
        inode = self._names[folder].pop(name)
        self.changes.append(Change("remove", {folder}, inode, target=(folder, name)))

    _on_rmdir = _on_unlink

    def sure_commits(self, index):
        """How many commits were reported as done before a point, and how many may have happened."""
        ended = sum(1 for _, end in self.commits if end is not None and end <= index)
        return ended, sum(1 for begun, _ in self.commits if begun < index)

    def unsure(self, index):
        """Changes before a point that no sync has made sure by then."""
        missing = {}
        for at, change in enumerate(self.changes[:index]):
            if isinstance(change, Change):
                missing[at] = set(change.needs)
            else:
                for needs in missing.values():
                    needs.discard(change)
        return [at for at, needs in missing.items() if needs]

    def build(self, index, folder: Path, dice: random.Random):
        """Write one disk that may be left when the power goes at a point.

        Args:
            index: How many of the changes had been made.
            folder: Must not exist; becomes what the store's folder is then.
            dice: Chooses which changes that were not sure are there.
        """
        unsure = set(self.unsure(index))
        share = dice.choice((0, 0.2, 0.5, 0.8, 1))
        names = {number: dict(found) for number, found in self._first.items()}
        contents = {number: inode.data for number, inode in enumerate(self.inodes)}
        for at, change in enumerate(self.changes[:index]):
            if not isinstance(change, Change):
                continue
            data = change.data
            if at in unsure:
                if dice.random() >= share:
                    continue
                if change.kind == "content":
                    data = dice.choice((data, data[: len(data) // 2], bytes(len(data))))
            self._apply(change, data, names, contents)
        self._write(names, contents, names.get(self.top, {}).get(self.root.name), folder)

    def _apply(self, change, data, names, contents):
        if change.kind == "content":
            contents[change.inode] += data
        elif change.kind == "add":
            names.setdefault(change.target[0], {})[change.target[1]] = change.inode
        elif change.kind == "remove":
            if names.get(change.target[0], {}).get(change.target[1]) == change.inode:
                del names[change.target[0]][change.target[1]]
        else:
            if names.get(change.source[0], {}).get(change.source[1]) == change.inode:
                del names[change.source[0]][change.source[1]]
            names.setdefault(change.target[0], {})[change.target[1]] = change.inode

    def _write(self, names, contents, number, path):
        if number is None:
            return
        if not self.inodes[number].folder:
            path.write_bytes(contents[number])
            return
        path.mkdir()
        for name, below in names.get(number, {}).items():
            self._write(names, contents, below, path / name)
