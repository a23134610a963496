return require "parts.hen"
