local found = ("a"):rep(1000):find((".-"):rep(30) .. "b")
