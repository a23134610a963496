return require "parts.egg"
