return { other = 1 }
