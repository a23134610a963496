local kernel = require "parts.nowhere"
