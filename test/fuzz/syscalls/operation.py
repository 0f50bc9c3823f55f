"""The table of the operations that the fuzzer chooses from."""

OPERATIONS = {}


class Operation:
    def __init__(self, function, weight, may_block, only_in_child, off_by_default):
        self.name = function.__name__.rstrip('_')
        self.run = function
        self.weight = weight
        self.may_block = may_block
        self.only_in_child = only_in_child
        self.off_by_default = off_by_default


def operation(weight, may_block=False, only_in_child=False, off_by_default=False):
    """Enters a function as an operation: `weight` is how often, relative to the others."""

    def enter(function):
        made = Operation(function, weight, may_block, only_in_child, off_by_default)
        OPERATIONS[made.name] = made
        return function

    return enter
