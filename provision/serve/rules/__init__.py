"""The rules that a layout must keep, by subject. A rule makes ``Violation``s of a ``Layout``; each file lists its
own.
"""
