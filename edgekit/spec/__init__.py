"""The words of edgekit as frozen types, with strict readers. Standard library only."""
