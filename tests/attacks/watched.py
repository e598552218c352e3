"""Use a bundle in a process that notes what Python does meanwhile: ``python watched.py WARM BUNDLE``.

WARM is a bundle of the same kind, used first, so that everything is imported by then. Prints a JSON list of what
happened with BUNDLE: a name of Python's audit events, and its arguments as texts. What native code does is not seen
here; it is given bytes and no paths.
"""

import json
import sys


def use(path):
    from edgekit.bundle.reading import Bundle
    from edgekit.runtime import load

    Bundle.open(path).verify()
    with load(path) as model:
        model(["word1 word2"])
        model.self_test()


def main(warm, path):
    use(warm)
    seen = []
    watching = [True]

    def note(event, arguments):
        if watching[0]:
            seen.append([event, *map(str, arguments)])

    sys.addaudithook(note)
    use(path)
    watching[0] = False
    print(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
