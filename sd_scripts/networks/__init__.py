"""Adapter types under the ecosystem's module names. What they attach to is a family's business, when they are trained a method's."""
