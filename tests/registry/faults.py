"""What is pushed in these tests, and the faults of a registry by the requests that they answer."""

from edgekit.bundle.folder import list_files

from .stand_in_registry import digest_of

LARGE = bytes(range(256)) * 800
LARGE_DIGEST = digest_of(LARGE)
BILL = b'{"bomFormat": "CycloneDX"}'


def files_of(folder):
    return {path: (folder / path).read_bytes() for path in list_files(folder)}


def once(test, act):
    """A fault that happens the first time that ``test`` holds of a request."""
    left = [act]

    def fault(handler):
        if left and test(handler):
            left.pop()(handler)
            return True
        return False

    return fault


def always(test, act):
    def fault(handler):
        if test(handler):
            act(handler)
            return True
        return False

    return fault


def getting(digest):
    return lambda handler: handler.command == "GET" and handler.path.endswith(digest)
