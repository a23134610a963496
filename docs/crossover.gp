# The crossover chart: gnuplot -e "data='FILE.dat'; curves=4; out='FILE.svg'; head='...'" docs/crossover.gp
# FILE.dat has one block for each block size, apart by two empty lines: a line with the quoted title of the curve, then
# sparsity in % and the ratio. docs/charts.py writes it.
set terminal svg size 860,560 font "DejaVu Sans,14" background rgb "white"
set output out
set encoding utf8
set title head font ",15"
set xlabel "sparsity of A: share of its blocks that are not stored, %"
set ylabel "time of dense cuBLAS / time of triage"
set xrange [0:100]
set logscale y 2
set yrange [0.25:*]
set xtics 0,10,100
set ytics ("1/4" 0.25, "1/2" 0.5, "1" 1, "2" 2, "4" 4, "8" 8, "16" 16, "32" 32)
set grid xtics ytics lc rgb "#dddddd"
set key top left Left reverse spacing 1.3 opaque
set border 3
set tics nomirror
set label "triage is faster" at 99,1.09 right tc rgb "#555555"
set label "dense is faster" at 99,0.92 right tc rgb "#555555"
array colours[4] = ["#0072b2", "#d55e00", "#009e73", "#aa3399"]
set style line 9 lc rgb "#333333" lw 1.5
plot 1 with lines ls 9 notitle, \
     for [i=0:curves-1] data index i using 1:2 with linespoints lw 2.5 pt i+4 ps 0.9 \
         lc rgb colours[i%4+1] title columnheader(1)
