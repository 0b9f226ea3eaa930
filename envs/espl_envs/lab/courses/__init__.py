"""Courses for lab models, one for each environment of the laboratory, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from espl_envs.lab.courses.almanac import AlmanacCourse
from espl_envs.lab.courses.rulebook import RulebookCourse
from espl_envs.lab.skills import Course

COURSES: Mapping[str, Course] = MappingProxyType({course.name: course for course in (RulebookCourse(), AlmanacCourse())})
"""Courses by the environment's name."""
