local all = {}
for i = 1, 1 << 40 do
   all[i] = { i }
end
