SELECT id FROM playhead_installation;
