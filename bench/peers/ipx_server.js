// ipx over a folder of pictures, as its own documentation sets it up. Environment: PORT, PICTURES.
import { createServer } from "node:http";
import { createIPX, createIPXNodeServer, ipxFSStorage } from "ipx";

const { PORT, PICTURES } = process.env;
const ipx = createIPX({ storage: ipxFSStorage({ dir: PICTURES }) });
createServer(createIPXNodeServer(ipx)).listen(Number(PORT), "127.0.0.1");
